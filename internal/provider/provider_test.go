package provider_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

func get(t *testing.T, name string) provider.Template {
	t.Helper()
	tmpl, err := provider.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestUnknownProviderListsTheKnown(t *testing.T) {
	t.Parallel()
	_, err := provider.Get("gemini")
	for _, want := range append(provider.Names(), `"gemini"`) {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v doesn't say %s", err, want)
		}
	}
}

func TestArgv(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, template string
		setup          provider.Setup
		want           []string
	}{
		{"claude, interactive", "claude", provider.Setup{Program: "/p/claude"},
			[]string{"/p/claude", "--dangerously-skip-permissions"}},
		{"claude, everything", "claude", provider.Setup{Program: "/p/claude", Headless: true, Prompt: "-do it", SystemPrompt: "x", Label: "-l", Args: []string{"--model", "opus"}},
			[]string{"/p/claude", "--dangerously-skip-permissions", "--append-system-prompt-file", "/home/agent/.claude/system-prompt.md", "--name=-l", "--print", "--model", "opus", "--", "-do it"}},
		{"codex, interactive", "codex", provider.Setup{Program: "/p/codex", Prompt: "hi"},
			[]string{"/p/codex", "--dangerously-bypass-approvals-and-sandbox", "--", "hi"}},
		{"codex, headless", "codex", provider.Setup{Program: "/p/codex", Headless: true, Prompt: "hi", Args: []string{"-m", "x"}},
			[]string{"/p/codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-m", "x", "--", "hi"}},
		{"shell, nothing", "shell", provider.Setup{}, []string{"bash", "-l"}},
		{"shell, prompt alone", "shell", provider.Setup{Prompt: "ls | wc"}, []string{"bash", "-lc", "ls | wc"}},
		{"shell, prompt and arguments", "shell", provider.Setup{Prompt: `echo "$@"`, Args: []string{"a"}}, []string{"bash", "-lc", `echo "$@"`, "bash", "a"}},
		{"shell, command", "shell", provider.Setup{Command: []string{"aider", "-y"}}, []string{"aider", "-y"}},
		{"shell, command with prompt and arguments", "shell", provider.Setup{Command: []string{"aider"}, Args: []string{"-y"}, Prompt: "do"}, []string{"aider", "-y", "do"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := get(t, tc.template).Argv(tc.setup); !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestNothingSecretOrTrackingLeavesATemplate(t *testing.T) {
	t.Parallel()
	for _, name := range provider.Names() {
		tmpl := get(t, name)
		s := provider.Setup{Program: "/p/x", SystemPrompt: "STANDING", Placeholders: map[string]string{}, Workdir: "/workspace"}
		for _, c := range tmpl.Credentials() {
			s.Placeholders[c.Env] = tmpl.Placeholder(c, "0123456789abcdefghij")
		}
		argv := strings.Join(tmpl.Argv(s), " ")
		for env, p := range s.Placeholders {
			if strings.Contains(argv, p) || strings.Contains(argv, "STANDING") {
				t.Errorf("%s: argv %q", name, argv)
			}
			if !slices.Contains(tmpl.Env(s), env+"="+p) {
				t.Errorf("%s: no %s in %q", name, env, tmpl.Env(s))
			}
			if !strings.Contains(p, "placeholder") || !strings.Contains(p, "0123456789abcdefghij") {
				t.Errorf("%s: placeholder %q", name, p)
			}
		}
		if !slices.IsSorted(tmpl.Env(s)) {
			t.Errorf("%s: env %q", name, tmpl.Env(s))
		}
		for _, f := range tmpl.Files(s) {
			if f.Mode != 0o600 || strings.HasPrefix(f.Path, "/") || strings.Contains(f.Path, "..") {
				t.Errorf("%s: file %s, mode %v", name, f.Path, f.Mode)
			}
			if strings.HasSuffix(f.Path, ".json") && !json.Valid(f.Data) {
				t.Errorf("%s: %s is no JSON:\n%s", name, f.Path, f.Data)
			}
		}
	}
}

func TestRoutesAreMinimal(t *testing.T) {
	t.Parallel()
	auth := &policy.Auth{Scheme: "Bearer", Ref: "X", Placeholder: "p"}
	for name, host := range map[string]string{"claude": "api.anthropic.com", "codex": "api.openai.com"} {
		routes := get(t, name).Routes(auth)
		if len(routes) != 1 || routes[0].ID != "provider:"+name || routes[0].Host.String() != host ||
			routes[0].Auth != auth || routes[0].Plain || len(routes[0].Matches) == 0 {
			t.Errorf("%s: %+v", name, routes)
		}
		for _, m := range routes[0].Matches {
			if len(m.Methods) == 0 || len(m.Paths) == 0 {
				t.Errorf("%s: a match without method or path: %+v", name, m)
			}
		}
	}
	if r := get(t, "shell").Routes(auth); len(r) != 0 {
		t.Errorf("shell: %+v", r)
	}
}

func TestRecognise(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 40)
	for _, tc := range []struct{ name, template, value, env, err string }{
		{"oauth token", "claude", "sk-ant-oat01-" + long, "CLAUDE_CODE_OAUTH_TOKEN", ""},
		{"api key", "claude", "sk-ant-api03-" + long, "ANTHROPIC_API_KEY", ""},
		{"openai project key", "codex", "sk-proj-" + long, "OPENAI_API_KEY", ""},
		{"openai old key", "codex", "sk-" + long, "OPENAI_API_KEY", ""},
		{"anthropic key for codex", "codex", "sk-ant-api03-" + long, "", "doesn't look like a codex"},
		{"openai key for claude", "claude", "sk-proj-" + long, "", "doesn't look like a claude"},
		{"cut off", "claude", "sk-ant-oat01-abc", "", "doesn't look like"},
		{"line break", "claude", "sk-ant-oat01-" + long + "\n", "", "line break"},
		{"whole file", "codex", "sk-" + strings.Repeat("a", 9<<10), "", "longer than"},
		{"empty", "codex", "", "", "empty"},
		{"a bottle's placeholder", "claude", "sk-ant-oat01-bottle-placeholder-" + long, "", "placeholder"},
		{"nothing to log in to", "shell", "sk-" + long, "", "takes no credential"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := provider.Recognise(get(t, tc.template), secret.New(tc.value))
			if tc.err == "" && (err != nil || c.Env != tc.env) {
				t.Errorf("got %+v, %v", c, err)
			}
			if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), long)) {
				t.Errorf("got %v, want %q", err, tc.err)
			}
		})
	}
}

func TestColour(t *testing.T) {
	t.Parallel()
	for color, want := range map[string]bool{"blue": true, "#12aBcD": true, "": false, "#12345": false, "#12345g": false, "no such": false} {
		files := get(t, "claude").Files(provider.Setup{Color: color})
		got := slices.ContainsFunc(files, func(f provider.File) bool { return strings.HasPrefix(f.Path, ".claude/themes/") })
		if got != want {
			t.Errorf("%q: tinted %v", color, got)
		}
	}
}
