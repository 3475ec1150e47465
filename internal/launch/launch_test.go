package launch

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

func TestWhatMakesTheBottleWorkWinsOverTheManifest(t *testing.T) {
	t.Parallel()
	p := plan.Plan{Env: []plan.Env{
		{Name: "EDITOR", Source: plan.EnvLiteral, Value: "vi"},
		{Name: "HTTPS_PROXY", Source: plan.EnvLiteral, Value: "http://elsewhere.test"},
		{Name: "SSL_CERT_FILE", Source: plan.EnvHost, Value: "X"},
		{Name: "TOKEN_OF_MINE", Source: plan.EnvPrompt},
	}}
	in := Inputs{Env: map[string]string{"SSL_CERT_FILE": "/tmp/mine.pem", "TOKEN_OF_MINE": "typed"}}
	system := []string{"PATH=/usr/local/go/bin:/usr/bin", "JAVA_HOME=/opt/java", "HTTP_PROXY=http://image.test", "EDITOR=image", "HOME=/root"}
	env := environment(p, in, system, []string{"PROVIDER=1", "EDITOR=ed"}, map[string]string{"API_KEY": "placeholder"}, Term{}.orDefault(), newCanary())
	for _, want := range []string{
		"EDITOR=vi", "TOKEN_OF_MINE=typed", "PROVIDER=1", "API_KEY=placeholder", "TERM=xterm-256color",
		"HTTPS_PROXY=http://127.0.0.1:3128", "SSL_CERT_FILE=" + trustBundle, "HOME=/home/agent",
		"PATH=/opt/claude-bottle/bin:/usr/local/go/bin:/usr/bin", "JAVA_HOME=/opt/java", "HTTP_PROXY=http://127.0.0.1:3128",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("%q is missing in\n%s", want, strings.Join(env, "\n"))
		}
	}
	if !slices.IsSorted(env) {
		t.Error("the environment is in no stable order")
	}
}

// The canary looks like what thieves collect, lies in both places, and is another one every time.
func TestTheCanaryLiesWhereThievesLook(t *testing.T) {
	t.Parallel()
	c := newCanary()
	if c == newCanary() {
		t.Error("two bottles have the same canary")
	}
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(c.id) || !regexp.MustCompile(`^[A-Za-z0-9]{40}$`).MatchString(c.key) {
		t.Errorf("no pair of AWS keys: %q %q", c.id, c.key)
	}
	env := environment(plan.Plan{}, Inputs{}, nil, nil, nil, Term{}, c)
	if !slices.Contains(env, canaryID+"="+c.id) || !slices.Contains(env, canaryValue+"="+c.key) {
		t.Error("it is not in the environment")
	}
	shell, err := provider.Get("shell")
	if err != nil {
		t.Fatal(err)
	}
	home, err := homeTar(t.Context(), plan.Plan{}, shell, provider.Setup{}, c)
	if err != nil || !strings.Contains(string(home), c.key) || !strings.Contains(string(home), canaryFile) {
		t.Errorf("it is not in the home: %v", err)
	}
	for _, v := range c.values() {
		if v.Reveal() != c.id && v.Reveal() != c.key {
			t.Error("the scanner looks for something else")
		}
	}
}

func TestNoSecretIsInTheEnvironment(t *testing.T) {
	t.Parallel()
	in := Inputs{Secrets: map[string]secret.Value{"API_KEY": secret.New("sk-real-value")}}
	env := environment(plan.Plan{}, in, nil, nil, map[string]string{"API_KEY": "placeholder"}, Term{}, canary{})
	if strings.Contains(strings.Join(env, "\n"), "sk-real-value") {
		t.Error("the credential is in the agent's environment")
	}
}

// Git itself reads back what we wrote, whatever stands in it.
func TestGitIdentityIsReadBackByGit(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Ada Lovelace", `quo"ted \ back`, "semi;colon #hash", "tab\there", "two\nlines [core]\n\tpager = x"} {
		home := t.TempDir()
		text := gitConfig(plan.GitUser{Name: name, Email: "ada@example.org"})
		if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("git", "config", "--global", "-z", "--list")
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1"}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git can't read\n%s: %v", text, err)
		}
		if want := "user.name\n" + name + "\x00user.email\nada@example.org\x00"; string(out) != want {
			t.Errorf("git reads %q, want %q", out, want)
		}
	}
	if got := gitConfig(plan.GitUser{}); got != "" {
		t.Errorf("no identity became %q", got)
	}
}

func TestHomeHoldsFilesFoldersAndSkills(t *testing.T) {
	t.Parallel()
	skill := t.TempDir()
	for name, text := range map[string]string{"SKILL.md": "# Review", "scripts/run.sh": "#!/bin/sh\n"} {
		path := filepath.Join(skill, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	claude, err := provider.Get("claude")
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Plan{Skills: []plan.Skill{{Name: "review", Source: skill}}, Git: plan.GitUser{Name: "Ada"}}
	data, err := homeTar(t.Context(), p, claude, provider.Setup{SystemPrompt: "Be brief.", Workdir: "/workspace"}, canary{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for tr := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if parent := filepath.Dir(strings.TrimSuffix(h.Name, "/")); parent != "." && !seen[parent+"/"] {
			t.Errorf("%s comes before its folder", h.Name)
		}
		seen[h.Name] = true
	}
	for _, want := range []string{".gitconfig", ".claude/skills/review/SKILL.md", ".claude/skills/review/scripts/run.sh"} {
		if !seen[want] {
			t.Errorf("%s is missing among %v", want, seen)
		}
	}
}

func TestShellWithNothingToBringHasAnEmptyHome(t *testing.T) {
	t.Parallel()
	shell, err := provider.Get("shell")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := homeTar(t.Context(), plan.Plan{}, shell, provider.Setup{}, canary{}); err != nil || len(data) != 0 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestTheFirstReasonToStopStaysAndGraceOnlyShrinks(t *testing.T) {
	t.Parallel()
	s := newStopping()
	if s.reason() != "" || isDone(s.asked) {
		t.Fatal("a stop nobody asked for")
	}
	s.ask("the operator said so", 3*time.Second)
	s.ask("another", time.Minute)
	s.ask("", time.Second)
	if s.reason() != "the operator said so" || s.grace() != time.Second || !isDone(s.asked) || s.cause().Error() != s.reason() {
		t.Errorf("reason %q, grace %s, cause %v", s.reason(), s.grace(), s.cause())
	}
}

func TestBootMessageCarriesSecretsAndIsBounded(t *testing.T) {
	t.Parallel()
	b, err := readBoot(strings.NewReader(`{"plan":{"id":"a-abcde","agent":"a"},"secrets":{"K":"v"},"env":{"E":"1"}}`))
	if err != nil || b.inputs().Secrets["K"].Reveal() != "v" || b.inputs().Env["E"] != "1" {
		t.Errorf("%+v, %v", b, err)
	}
	for _, bad := range []string{"", "{", `{"plan":{"id":"../x-abcde"}}`, strings.Repeat(" ", maxBoot+1) + "{}"} {
		if _, err := readBoot(strings.NewReader(bad)); err == nil {
			t.Errorf("a boot message of %d bytes passed", len(bad))
		}
	}
}
