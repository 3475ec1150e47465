//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/setup"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// loudLines is what a noisy build prints.
const loudLines = 10_000

// loudHome is a home whose bottle has a system that prints them while it is built, each time anew.
func loudHome(t *testing.T) *home {
	t.Helper()
	h := shellHome(t)
	h.dockerfile(t, fmt.Sprintf("RUN : %s; i=0; while [ $i -lt %d ]; do echo loud line $i; i=$((i+1)); done", filepath.Base(h.dir), loudLines))
	return h
}

// The question comes first: until it is answered nothing runs, nothing is built, and nothing but it is
// written to the terminal. A build that prints ten thousand lines starts after the yes, and what it says is
// in the launch's progress alone.
func TestQuestionFirst(t *testing.T) {
	t.Parallel()
	if containers == nil || containers.name != "docker" && !machines() {
		t.Skip("it takes a system that is built")
	}
	h := loudHome(t)
	asked := func() int {
		calls, err := setup.Calls(binDir)
		if err != nil && machines() {
			t.Fatal(err)
		}
		n := 0
		for _, c := range calls {
			if strings.Contains(strings.Join(c.Env, "\n"), h.dir) || strings.Contains(strings.Join(c.Argv, "\n"), filepath.Base(h.dir)) {
				n++
			}
		}
		return n
	}
	begun := func() bool {
		found, err := filepath.Glob(h.path("state/*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found) > 0 || asked() > 0
	}
	p := h.sit(t, 100, 40)
	question := func() {
		p.tells("claude-bottle start sh")
		p.sees("image", "[y/N]")
		before := p.screen()
		for range 20 {
			time.Sleep(25 * time.Millisecond)
			if now := p.screen(); now != before {
				t.Fatalf("while the question stands the terminal changes from\n%s\nto\n%s", before, now)
			}
			if begun() {
				t.Fatal("something was begun before the yes")
			}
			if pid := h.commandOf(t, "start sh"); pid != 0 && len(children(pid)) > 0 {
				t.Fatalf("the command has started %v before the yes", children(pid))
			}
		}
	}
	question()
	p.presses("n", "Enter")
	p.sees("at-home>")
	if begun() {
		t.Fatal("something was begun after a no")
	}
	question()
	p.presses("y", "Enter")
	p.sees("/workspace$")
	p.says("echo it is $((40+2))")
	p.sees("it is 42")
	if screen := p.screen(); strings.Contains(screen, "loud line") {
		t.Errorf("the build writes into the session:\n%s", screen)
	}
	log := h.launchLog()
	first, last := strings.Contains(log, "loud line 0\n"), strings.Contains(log, fmt.Sprintf("loud line %d\n", loudLines-1))
	if n := strings.Count(log, "loud line "); !first || !last || n < loudLines {
		t.Errorf("the launch's log has %d lines of the build, the first: %v, the last: %v", n, first, last)
	}
	whole, err := filepath.Glob(h.path("state/*/image.log"))
	if err != nil || len(whole) != 1 {
		t.Fatalf("logs of the build: %v, %v", whole, err)
	}
	if text, err := os.ReadFile(whole[0]); err != nil || strings.Count(string(text), "loud line ") < loudLines {
		t.Errorf("the build's own log has %d of its lines, %v", strings.Count(string(text), "loud line "), err)
	}
	if casts, err := filepath.Glob(h.path("state/*/" + state.CastFile)); err != nil || len(casts) != 1 {
		t.Errorf("recordings: %v, %v", casts, err)
	} else if text, err := os.ReadFile(casts[0]); err != nil || strings.Contains(string(text), "loud line") {
		t.Errorf("the build is in the session's recording, %v", err)
	}
	p.says("exit")
	p.sees("at-home>")
}

// commandOf is the process of claude-bottle with these arguments, 0 for none.
func (h *home) commandOf(t testing.TB, args string) int {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(e)
		if err != nil {
			continue // it has ended
		}
		if words := strings.ReplaceAll(strings.TrimSuffix(string(text), "\x00"), "\x00", " "); strings.HasSuffix(words, "claude-bottle "+args) {
			env, _ := os.ReadFile(filepath.Join(filepath.Dir(e), "environ")) // of a process that ended it says nothing
			if strings.Contains(string(env), h.dir) {
				var pid int
				if _, err := fmt.Sscan(filepath.Base(filepath.Dir(e)), &pid); err == nil {
					return pid
				}
			}
		}
	}
	return 0
}
