package provider

import (
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// codex is OpenAI's Codex CLI.
type codex struct{}

const (
	codexKey     = "OPENAI_API_KEY"
	codexVersion = "0.169.0"
)

func (codex) Name() string { return "codex" }

func (codex) Credentials() []Credential {
	return []Credential{{Env: codexKey, Scheme: "Bearer", Login: "codex"}}
}

func (codex) Placeholder(_ Credential, random string) string {
	return "sk-proj-bottle-placeholder-" + random
}

func (codex) Routes(auth *policy.Auth) []policy.Route {
	return []policy.Route{{
		ID:         "provider:codex",
		Host:       mustHost("api.openai.com"),
		Capability: "openai: inference", Scan: policy.Scan{Model: true},
		Matches: []policy.Match{{
			Methods: []string{"POST"},
			Paths:   []policy.PathMatch{{Type: policy.PathExact, Value: "/v1/responses"}},
		}},
		Auth: auth,
	}}
}

func (codex) Source() Source {
	s := Source{Command: "codex", Package: "@openai/codex", Version: codexVersion}
	for _, n := range []Native{{Arch: "amd64"}, {Arch: "amd64", Musl: true}, {Arch: "arm64"}, {Arch: "arm64", Musl: true}} {
		triple := "x86_64-unknown-linux-musl" // static: the same for either C library
		if n.Arch == "arm64" {
			triple = "aarch64-unknown-linux-musl"
		}
		// The platform builds are versions of the one package; npm installs them under aliases.
		n.Package = s.Package + "-linux-" + n.CPU()
		n.Spec = n.Package + "@npm:" + s.Package + "@" + s.Version + "-linux-" + n.CPU()
		n.Program = "vendor/" + triple + "/bin/codex"
		s.Native = append(s.Native, n)
	}
	return s
}

func (codex) SkillsDir() string { return ".codex/skills" }

// codexConfig answers what Codex would ask at its first start, and keeps it from looking for news.
const codexConfig = `approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
cli_auth_credentials_store = "file"
model_provider = "bottle"
`

// codexTables sets up OpenAI's API again under another name, the only way to have it over plain
// HTTPS requests instead of one long WebSocket: every request is then judged and recorded by
// itself. Compressed bodies and whatever starts a background process or fetches catalogues are off.
const codexTables = `
[model_providers.bottle]
name = "OpenAI"
base_url = "https://api.openai.com/v1"
wire_api = "responses"
requires_openai_auth = true
supports_websockets = false

[features]
apps = false
daemon_auto_start = false
enable_request_compression = false
plugins = false
remote_plugin = false

[analytics]
enabled = false

[feedback]
enabled = false

[notice]
hide_full_access_warning = true

[tui]
show_tooltips = false
`

func (codex) Files(s Setup) []File {
	var b strings.Builder
	b.WriteString(codexConfig)
	if s.SystemPrompt != "" {
		b.WriteString("developer_instructions = " + tomlString(s.SystemPrompt) + "\n")
	}
	b.WriteString(codexTables)
	b.WriteString("\n[projects." + tomlString(s.Workdir) + "]\ntrust_level = \"trusted\"\n")
	files := []File{{".codex/config.toml", 0o600, []byte(b.String())}}
	if key := s.Placeholders[codexKey]; key != "" {
		files = append(files, File{".codex/auth.json", 0o600,
			jsonText(map[string]any{"auth_mode": "apikey", codexKey: key})})
	}
	return files
}

func (codex) Env(s Setup) []string { return withPlaceholders(nil, s) }

func (codex) Argv(s Setup) []string {
	argv := []string{s.Program}
	if s.Headless {
		argv = append(argv, "exec", "--skip-git-repo-check")
	}
	argv = append(argv, "--dangerously-bypass-approvals-and-sandbox")
	argv = append(argv, s.Args...)
	if s.Prompt != "" {
		argv = append(argv, "--", s.Prompt)
	}
	return argv
}
