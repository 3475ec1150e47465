//go:build linux

package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"

	"github.com/claude-bottle/claude-bottle/internal/standin"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// small talk is what the model says to a person at the terminal.
func smallTalk(c standin.Conversation) standin.Turn {
	switch {
	case len(c.Results) > 0:
		words := strings.Fields(c.Results[0])
		return standin.Turn{Text: "Measured: " + strings.Join(words[max(0, len(words)-2):], "-by-")}
	case strings.Contains(c.Said, "measure"):
		// What an agent program runs has no terminal of its own; this is the program's.
		return standin.Turn{Text: "Measuring.", Commands: []string{"stty size -F /dev/pts/0"}}
	case strings.Contains(c.Said, "ponder"):
		return standin.Turn{Text: "Pondering.", Commands: []string{"sleep 1000"}}
	}
	return standin.Turn{Text: "Greetings from the model."}
}

// tui is what a program shows a person.
type tui struct {
	template string
	ready    []string // is shown once it takes input
	stopped  string   // after Ctrl-C at work
	leaving  string   // after the first Ctrl-C without work; empty where that leaves at once
}

// A person starts a real agent, talks to it, resizes, leaves, comes back, looks over a second
// terminal's shoulder, loses a terminal, and says goodbye. No first-run dialog stands in the way.
func TestInteractive(t *testing.T) {
	t.Parallel()
	for _, c := range []tui{
		{"claude", []string{"bypass permissions on"}, "Interrupted", "again to exit"},
		{"codex", []string{"YOLO", "Ask Codex"}, "interrupted", ""},
	} {
		t.Run(c.template, func(t *testing.T) {
			t.Parallel()
			g := newGenius(t, c.template, 0, smallTalk)
			p := g.home.sit(t, 100, 30)
			p.says("claude-bottle start genius --label lamp")
			p.sees("everything else is refused", "[y/N]")
			p.presses("y", "Enter")
			p.sees(c.ready...)
			p.says("greet me")
			p.sees("Greetings from the model.")

			p.resize(80, 24)
			p.until("it is drawn for 80 columns", func(screen string) bool { return widest(screen) <= 80 && strings.Contains(screen, "Greetings") })
			p.says("measure")
			p.sees("Measured: 24-by-80")

			p.comesBack("lamp")

			second := g.home.sit(t, 90, 24)
			second.says("claude-bottle attach lamp")
			second.sees("Measured: 24-by-80")
			second.says("ponder")
			p.sees("Pondering.")
			p.presses("C-c")
			p.sees(c.stopped)
			second.sees(c.stopped)
			second.leaves()

			p.closes()
			if e := only(t, g.home); !e.Alive || e.State.String() != "running" {
				t.Fatalf("after the terminal was closed: %+v", e)
			}
			second.tells("claude-bottle attach lamp")
			second.sees("Pondering.", c.stopped)
			if c.leaving != "" {
				second.insists(func() { second.presses("C-c") }, c.leaving)
			}
			second.presses("C-c")
			second.sees("at-home>")
			second.tells("claude-bottle list --all")
			second.sees("no bottles")
			g.home.empty(t)
			g.credentials(t)
		})
	}
}

// leaves presses the detach keys and comes home.
func (p *person) leaves() {
	p.t.Helper()
	p.presses("C-]", "d")
	p.sees("running; back to it: claude-bottle attach ", "at-home>")
}

// comesBack leaves a session and attaches to it anew: it is the screen that was left. An agent program that
// draws something of its own in between, as they do with hints, has another screen, and is left once more.
func (p *person) comesBack(label string) {
	p.t.Helper()
	var left, found string
	for range 3 {
		left = p.settled()
		p.leaves()
		p.tells("claude-bottle list")
		p.sees("AGENT", "running", label)
		p.tells("claude-bottle attach " + label)
		p.until("the session is back", func(screen string) bool { return !strings.Contains(screen, "at-home>") })
		if found = p.settled(); found == left {
			return
		}
	}
	p.t.Fatalf("the session is not as it was left:\n%s\nwas\n%s", found, left)
}

// closes closes the terminal with all that runs in it.
func (p *person) closes() {
	p.t.Helper()
	pid := p.server()
	start, _, _ := stat(pid)
	p.tmux("kill-server")
	within(p.t, patience, "the terminal is closed", func() bool { return !process{pid, start}.alive() })
}

// picture is what is to be seen: every character with its colours, and where the cursor is. The
// pen that a blank was drawn with doesn't count, as long as it is none for blocks.
func (p *person) picture() string {
	p.t.Helper()
	var b strings.Builder
	b.WriteString(p.tmux("display-message", "-p", "#{cursor_x},#{cursor_y}"))
	const cols, rows = 120, 50 // room for any terminal here
	e := vt.NewEmulator(cols, rows)
	if _, err := e.WriteString(strings.ReplaceAll(p.tmux("capture-pane", "-p", "-e"), "\n", "\r\n")); err != nil {
		p.t.Fatal(err)
	}
	for y := range rows {
		for x := range cols {
			switch c := e.CellAt(x, y); {
			case c == nil || c.Content == " " && c.Style.Attrs&uv.AttrReverse == 0:
				b.WriteByte(' ')
			default:
				b.WriteString(c.Style.String() + c.Content)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// settled is the picture once nothing moves any more.
func (p *person) settled() string {
	p.t.Helper()
	var last string
	since := time.Now()
	p.until("nothing moves", func(string) bool {
		if now := p.picture(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 400*time.Millisecond
	})
	return last
}

// widest is the length of the longest line.
func widest(screen string) (n int) {
	for line := range strings.Lines(screen) {
		n = max(n, utf8.RuneCountInString(strings.TrimRight(line, " \n")))
	}
	return n
}

// entries are the bottles of a home, ended ones too.
func entries(t testing.TB, h *home) (list []state.Entry) {
	t.Helper()
	r := h.run(t, "list", "--all", "--json")
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || r.code != 0 {
		t.Fatalf("list: %v: %v", err, r)
	}
	return list
}

// only is the one bottle of a home.
func only(t testing.TB, h *home) state.Entry {
	t.Helper()
	list := entries(t, h)
	if len(list) != 1 {
		t.Fatalf("want one bottle: %+v", list)
	}
	return list[0]
}
