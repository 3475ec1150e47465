package provider

import (
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// claude is Claude Code.
type claude struct{}

const (
	claudeOAuth  = "CLAUDE_CODE_OAUTH_TOKEN"
	claudeKey    = "ANTHROPIC_API_KEY"
	claudePrompt = ".claude/system-prompt.md"

	claudeVersion = "2.1.197"
)

func (claude) Name() string { return "claude" }

func (claude) Credentials() []Credential {
	return []Credential{
		{Env: claudeOAuth, Scheme: "Bearer", Login: "claude"},
		{Env: claudeKey, Scheme: "x-api-key", Login: "claude-api-key"},
	}
}

// Placeholder keeps the prefixes that tell an OAuth token from an API key.
func (claude) Placeholder(c Credential, random string) string {
	if c.Env == claudeKey {
		return "sk-ant-api03-bottle-placeholder-" + random
	}
	return "sk-ant-oat01-bottle-placeholder-" + random
}

func (claude) Routes(auth *policy.Auth) []policy.Route {
	return []policy.Route{{
		ID:         "provider:claude",
		Host:       mustHost("api.anthropic.com"),
		Capability: "anthropic: inference", Scan: policy.Scan{Model: true},
		Matches: []policy.Match{{
			Methods: []string{"POST"},
			Paths: []policy.PathMatch{
				{Type: policy.PathExact, Value: "/v1/messages"},
				{Type: policy.PathExact, Value: "/v1/messages/count_tokens"},
			},
		}},
		Auth: auth,
	}}
}

func (claude) Source() Source {
	s := Source{Command: "claude", Package: "@anthropic-ai/claude-code", Version: claudeVersion}
	for _, n := range []Native{{Arch: "amd64"}, {Arch: "amd64", Musl: true}, {Arch: "arm64"}, {Arch: "arm64", Musl: true}} {
		n.Package = s.Package + "-linux-" + n.CPU()
		if n.Musl {
			n.Package += "-musl"
		}
		n.Spec, n.Program = n.Package+"@"+s.Version, "claude"
		s.Native = append(s.Native, n)
	}
	return s
}

func (claude) SkillsDir() string { return ".claude/skills" }

func (c claude) Files(s Setup) []File {
	// What the first-run dialogs would have written: theme and onboarding, trust in the folder,
	// approval of the key found in the environment (Claude Code remembers its last 20 characters).
	state := map[string]any{
		"hasCompletedOnboarding": true,
		"lastOnboardingVersion":  claudeVersion,
		"autoUpdates":            false,
		"projects": map[string]any{s.Workdir: map[string]any{
			"hasTrustDialogAccepted":        true,
			"hasCompletedProjectOnboarding": true,
			"allowedTools":                  []string{},
		}},
	}
	if key := s.Placeholders[claudeKey]; key != "" {
		state["customApiKeyResponses"] = map[string]any{
			"approved": []string{key[max(0, len(key)-20):]},
			"rejected": []string{},
		}
	}
	settings := map[string]any{
		"theme":                             "dark",
		"skipDangerousModePermissionPrompt": true,
	}
	var theme []File
	if hex, ok := hexColor(s.Color); ok {
		settings["theme"] = "custom:bottle"
		theme = []File{{".claude/themes/bottle.json", 0o600, jsonText(map[string]any{
			"name": "Bottle", "base": "dark",
			// The bar above the prompt is drawn in the last of these once a session has a name.
			"overrides": map[string]string{
				"claude": hex, "permission": hex, "promptBorder": hex, "cyan_FOR_SUBAGENTS_ONLY": hex,
			},
		})}}
	}
	files := []File{
		{".claude.json", 0o600, jsonText(state)},
		{".claude/settings.json", 0o600, jsonText(settings)},
	}
	files = append(files, theme...)
	if s.SystemPrompt != "" {
		files = append(files, File{claudePrompt, 0o600, []byte(s.SystemPrompt)})
	}
	return files
}

func (claude) Env(s Setup) []string {
	return withPlaceholders([]string{
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
		"CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL=1",
		"DISABLE_AUTOUPDATER=1",
		"DISABLE_ERROR_REPORTING=1",
		"DISABLE_INSTALLATION_CHECKS=1",
		"DISABLE_TELEMETRY=1",
		"IS_SANDBOX=1",
	}, s)
}

func (claude) Argv(s Setup) []string {
	argv := []string{s.Program, "--dangerously-skip-permissions"}
	if s.SystemPrompt != "" {
		argv = append(argv, "--append-system-prompt-file", inHome(claudePrompt))
	}
	if s.Label != "" {
		argv = append(argv, "--name="+s.Label)
	}
	if s.Headless {
		argv = append(argv, "--print")
	}
	argv = append(argv, s.Args...)
	if s.Prompt != "" {
		// After "--" a prompt that begins with a dash is still a prompt, and no option before it
		// that takes several values swallows it.
		argv = append(argv, "--", s.Prompt)
	}
	return argv
}
