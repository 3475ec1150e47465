package provider_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/provider/install/installtest"
	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/standin"
	"github.com/creack/pty"
)

// agent is a real agent program in a home made of nothing but what its template says, talking to
// the stand-in; every other host it asks for is refused and remembered.
type agent struct {
	cmd     *exec.Cmd
	api     *standin.API
	cred    provider.Credential
	refused func() []string
}

// marker comes back from the shell only when the agent ran the command; the command's own text
// doesn't hold it.
const (
	command = "echo tool-$((40+2))-ran; pwd"
	marker  = "tool-42-ran"
	verdict = "The-tool-said-it"
)

func start(ctx context.Context, t *testing.T, template string, cred int, s provider.Setup) agent {
	t.Helper()
	tmpl, err := provider.Get(template)
	if err != nil {
		t.Fatal(err)
	}
	home, work := t.TempDir(), t.TempDir()
	c := tmpl.Credentials()[cred]
	placeholder := tmpl.Placeholder(c, "0123456789abcdefghij")
	s.Program = installtest.Find(t, template).HostPath()
	s.Workdir = work
	s.SystemPrompt = "You are the agent of a \"test\".\nUNMISTAKABLE\\INSTRUCTION."
	s.Placeholders = map[string]string{c.Env: placeholder}

	api := standin.New(standin.Config{
		Keys: []standin.Key{{Scheme: c.Scheme, Value: secret.New(placeholder)}},
		Script: func(c standin.Conversation) standin.Turn {
			switch {
			case c.Step == 0:
				return standin.Turn{Text: "Looking.", Commands: []string{command}}
			case len(c.Results) == 1 && strings.Contains(c.Results[0], marker) && strings.Contains(c.Results[0], work):
				return standin.Turn{Text: verdict}
			default:
				return standin.Turn{Text: fmt.Sprintf("the tool's results are %q", c.Results)}
			}
		},
	})
	srv, err := api.Start(standin.Plain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	proxy, refused := refusingProxy(t)
	if template == "codex" {
		s.Args = append(s.Args, "--strict-config", "-c", "model_providers.bottle.base_url="+srv.URL+"/v1")
	}

	for _, f := range tmpl.Files(s) {
		name := filepath.Join(home, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, f.Mode); err != nil {
			t.Fatal(err)
		}
	}
	skill := filepath.Join(home, filepath.FromSlash(tmpl.SkillsDir()), "bottling", "SKILL.md")
	if err := os.MkdirAll(filepath.Dir(skill), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(skill, []byte("---\nname: bottling\ndescription: UNMISTAKABLE SKILL\n---\nFill, then cork.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	argv := tmpl.Argv(s)
	for i, a := range argv {
		argv[i] = strings.Replace(a, backend.Home, home, 1)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = work
	cmd.Env = append([]string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TERM=xterm-256color", "LANG=C.UTF-8",
		"HTTPS_PROXY=" + proxy, "HTTP_PROXY=" + proxy, "NO_PROXY=127.0.0.1",
		"ANTHROPIC_BASE_URL=" + srv.URL,
	}, tmpl.Env(s)...)
	cmd.WaitDelay = 5 * time.Second
	return agent{cmd, api, c, refused}
}

// refusingProxy answers 403 to everything, as an egress that allows nothing does.
func refusingProxy(t *testing.T) (url string, hosts func() []string) {
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(asked, r.Host) {
			asked = append(asked, r.Host)
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
}

// check looks at what the stand-in and the proxy saw.
func (a agent) check(t *testing.T, allowedNoise ...string) {
	t.Helper()
	prompted, skilled := false, false
	for _, r := range a.api.Seen() {
		if r.Status != http.StatusOK || r.Scheme != a.cred.Scheme && r.Path != "/" {
			t.Errorf("%s %s: %d, credential as %q", r.Method, r.Path, r.Status, r.Scheme)
		}
		prompted = prompted || bytes.Contains(r.Body, []byte(`UNMISTAKABLE\\INSTRUCTION`))
		skilled = skilled || bytes.Contains(r.Body, []byte("UNMISTAKABLE SKILL"))
	}
	if !skilled {
		t.Error("the skill never reached the model")
	}
	if !prompted {
		t.Error("the system prompt never reached the model")
	}
	for _, host := range a.refused() {
		if !slices.Contains(allowedNoise, host) {
			t.Errorf("it asked for %s", host)
		}
	}
}

// noise is what a program asks for at its start and can't be told not to; refused, it does without.
var noise = map[string][]string{"codex": {"raw.githubusercontent.com:443"}}

func TestRealAgentsHeadless(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, template string
		cred           int
	}{{"claude with a token", "claude", 0}, {"claude with a key", "claude", 1}, {"codex", "codex", 0}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			a := start(ctx, t, tc.template, tc.cred, provider.Setup{Headless: true, Prompt: "-look around", Label: "a label", Color: "blue"})
			var stderr bytes.Buffer
			a.cmd.Stderr = &stderr
			out, err := a.cmd.Output()
			if err != nil || strings.TrimSpace(string(out)) != verdict {
				t.Errorf("%v, output %q\n%s", err, out, stderr.String())
			}
			a.check(t, noise[tc.template]...)
		})
	}
}

func TestRealAgentsShowNoDialog(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, template string
		cred           int
		ready          string
	}{{"claude with a token", "claude", 0, "bypass permissions on"}, {"claude with a key", "claude", 1, "bypass permissions on"}, {"codex", "codex", 0, "Ask Codex"}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			a := start(ctx, t, tc.template, tc.cred, provider.Setup{Label: "a label", Color: "green"})
			s := newScreen(t, a.cmd)
			s.wait(ctx, tc.ready)
			s.typed("look around")
			s.wait(ctx, "look around")
			s.typed("\r")
			s.wait(ctx, marker, verdict)
			for _, complaint := range []string{"missing or broken", "Update available", "Do you trust", "Choose"} {
				if strings.Contains(s.text(), complaint) {
					t.Errorf("the screen says %q:\n%s", complaint, s.text())
				}
			}
			a.check(t, noise[tc.template]...)
		})
	}
}

// screen is a terminal with a program on it.
type screen struct {
	t   *testing.T
	tty *os.File
	emu *vt.SafeEmulator
	// mu is between Write and String, which SafeEmulator leaves unguarded.
	mu sync.Mutex
	// drawn gets a token whenever the program wrote something.
	drawn chan struct{}
}

func newScreen(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 34, Cols: 110})
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, tty: tty, emu: vt.NewSafeEmulator(110, 34), drawn: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { // the emulator's answers to the program's questions about its terminal
		_, _ = io.Copy(tty, s.emu) // ends with the terminal
	})
	wg.Go(func() {
		// Ends the copy above; the emulator's own Close races with its Read.
		defer func() { _ = s.emu.InputPipe().(io.Closer).Close() }()
		buf := make([]byte, 32<<10)
		for {
			n, err := tty.Read(buf)
			s.mu.Lock()
			_, _ = s.emu.Write(buf[:n]) // it takes anything
			s.mu.Unlock()
			if err != nil {
				return
			}
			select {
			case s.drawn <- struct{}{}:
			default:
			}
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // "killed" is no news
		_ = tty.Close()
		wg.Wait()
	})
	return s
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.emu.String()
}

func (s *screen) typed(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.tty, text); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) wait(ctx context.Context, words ...string) {
	s.t.Helper()
	for {
		missing := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.Contains(s.text(), w) })
		if len(missing) == 0 {
			return
		}
		select {
		case <-s.drawn:
		case <-ctx.Done():
			s.t.Fatalf("the screen never showed %q:\n%s", missing, s.text())
		}
	}
}
