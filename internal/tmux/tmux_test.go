package tmux

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func vars(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func TestBesideIsOnlyInTmux(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		vars map[string]string
		ok   bool
	}{
		"outside":          {nil, false},
		"inside":           {map[string]string{"TMUX": "/tmp/tmux-0/default,1,0", "TMUX_PANE": "%3"}, true},
		"no pane":          {map[string]string{"TMUX": "/tmp/tmux-0/default,1,0"}, false},
		"a pane that's no": {map[string]string{"TMUX": "x", "TMUX_PANE": "%3; kill-server"}, false},
	} {
		if got := Beside(vars(c.vars)); (got != nil) != c.ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// server is a tmux of the test's own, which the commands of the package reach by their environment.
func server(t *testing.T) *Pane {
	t.Helper()
	dir, err := os.MkdirTemp("", "tmux")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	run := func(args ...string) string {
		out, err := exec.Command("tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	pane := run("new-session", "-d", "-x", "100", "-y", "30", "-P", "-F", "#{pane_id}", "sleep 1000")
	t.Cleanup(func() { run("kill-server") })
	t.Setenv("TMUX", socket+",0,0")
	t.Setenv("TMUX_PANE", pane)
	p := Beside(os.LookupEnv)
	if p == nil {
		t.Fatal("this is in tmux, and there is no pane beside")
	}
	return p
}

// What is shown is the command and nothing else, whatever its words and its name are.
func TestShowRunsOneCommandAfterTheOther(t *testing.T) {
	p := server(t)
	dir := t.TempDir()
	for i, name := range []string{"first", "it's #(touch " + dir + "/owned) \x1b]2;x\x07"} {
		out := filepath.Join(dir, string(rune('a'+i)))
		if err := p.Show(t.Context(), name, "/bin/sh", "-c", `printf %s "$1" > "$2"; sleep 1000`, "sh", "it's $(touch "+dir+"/owned); `id`", out); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if text, err := os.ReadFile(out); err == nil && string(text) == "it's $(touch "+dir+"/owned); `id`" {
				break
			} else if time.Now().After(end) {
				t.Fatalf("it wrote %q, %v", text, err)
			}
		}
		if panes, err := p.run(t.Context(), "list-panes", "-F", "#{pane_id} #{allow-passthrough}"); err != nil || strings.Count(panes, "%") != 2 {
			t.Errorf("there is %q, %v", panes, err)
		}
		title, err := p.run(t.Context(), "display-message", "-p", "-t", p.id, "#{pane_title}")
		if err != nil || strings.ContainsAny(title, "\x1b\x07#") {
			t.Errorf("its title is %q, %v", title, err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "owned")); err == nil {
		t.Error("a word was run")
	}
}
