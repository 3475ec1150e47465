//go:build linux

package e2e_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

// fresh puts a new bottle of sh together in the dashboard, up to its preflight.
func (p *person) fresh(label, backend string) {
	p.t.Helper()
	p.presses("n")
	p.sees("a new bottle of which agent?", "evil", "sh")
	p.presses("s", "h")
	p.until("the other agent is left out", func(screen string) bool { return !strings.Contains(screen, "  evil") })
	p.presses("Enter")
	p.until("it asks on", func(screen string) bool {
		return strings.Contains(screen, "on which backend?") || strings.Contains(screen, "in which bottles?")
	})
	if strings.Contains(p.screen(), "on which backend?") {
		p.tmux("send-keys", "-l", backend)
		p.presses("Enter")
	}
	p.sees("in which bottles?")
	p.presses("Enter")
	p.sees("a label, or none")
	p.tmux("send-keys", "-l", label)
	p.presses("Enter")
	p.sees("in which colour?")
	p.presses("Enter")
	p.sees("preflight", label, "launch sh-")
}

// A person sees every bottle on one screen: makes one, watches its traffic, works in its session in here and
// with the whole terminal, resizes, ends it, and leaves.
func TestDashboard(t *testing.T) {
	t.Parallel()
	onlyNative(t, "a dashboard asks the same of every bottle")
	h := shellHome(t)
	// An editor that makes a mistake.
	if err := os.WriteFile(h.path("editor"), []byte("#!/bin/sh\nsed -i s/egress:/egres:/ \"$2\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.env["EDITOR"] = h.path("editor") + " --wait"
	p := h.sit(t, 120, 40)
	p.says("env -u TMUX claude-bottle")
	p.sees("no bottles yet", "n new")
	p.fresh("lamp", "native")
	if len(entries(t, h)) > 0 {
		t.Fatal("something was begun before the yes")
	}
	p.presses("n")
	p.sees("no bottles yet")
	p.fresh("lamp", "native")
	p.presses("y")
	p.sees("is up; enter goes to it", "1 running", "lamp", "probes, all sealed")
	p.presses("Tab")
	p.sees("session of sh-", "/workspace$")
	p.types("curl -s http://pastebin.test/; echo in $((40+2))")
	p.sees("in 42", "✗", "pastebin.test")
	p.resize(150, 50)
	p.insists(func() { p.types("stty size") }, "37 98") // what the frame leaves of the right side
	p.presses("C-]")
	p.sees("n new")
	p.presses("Enter")
	p.until("the session has the whole terminal", func(screen string) bool { return !strings.Contains(screen, "╭") })
	p.insists(func() { p.types("echo whole $((50+2)); stty size") }, "50 150")
	p.sees("whole 52")
	p.presses("C-]", "d")
	p.sees("1 running", "about of sh-", "its session shows", "whole 52")
	p.presses("?")
	p.sees("leave; bottles go on running")
	p.presses("Enter")
	p.until("the help is gone", func(screen string) bool { return !strings.Contains(screen, "leave; bottles go on running") })
	p.presses("q")
	p.sees("1 bottle runs on", "at-home>")
	p.tells("claude-bottle dashboard --once")
	p.sees("1 running", "lamp")
	p.tells("env -u TMUX claude-bottle dashboard")
	p.sees("1 running", "lamp", "n new")
	// A file is edited, and what is wrong with it is said when it is saved.
	p.presses("e")
	p.sees("edit which file?", "agent sh", "bottle sh")
	p.presses("Down", "Enter")
	p.sees("error: ", "egres", "did you mean")
	p.presses("s")
	p.sees("stop sh-")
	p.presses("y")
	p.sees("0 running")
	p.presses("q")
	p.sees("at-home>")
	if screen := p.screen(); strings.Contains(screen, "╭") {
		t.Errorf("the terminal was not given back as it was:\n%s", screen)
	}
}

// A start that is not told which agent lets one be picked, and goes on as if it had been said.
func TestStartPicks(t *testing.T) {
	t.Parallel()
	onlyNative(t, "a dashboard asks the same of every bottle")
	h := shellHome(t)
	p := h.sit(t, 100, 30)
	p.says("claude-bottle start")
	p.sees("a new bottle of which agent?")
	p.presses("C-c")
	p.sees("no agent was chosen", "at-home>")
	p.tells("claude-bottle start --backend native")
	p.sees("a new bottle of which agent?")
	p.presses("s", "h", "Enter")
	p.sees("in which bottles?") // on which backend it knows
	p.presses("Enter")
	p.sees("a label, or none")
	p.presses("Enter")
	p.sees("everything else is refused", "launch sh-", "[y/N]")
	p.presses("n", "Enter")
	p.sees("not launched", "at-home>")
	h.empty(t)
}

// In tmux the dashboard stays where it is, and the session is in a pane beside it.
func TestDashboardInTmux(t *testing.T) {
	t.Parallel()
	onlyNative(t, "a dashboard asks the same of every bottle")
	h := shellHome(t)
	p := h.sit(t, 200, 40)
	p.says("claude-bottle")
	p.sees("no bottles yet")
	p.fresh("lamp", "native")
	p.presses("y")
	p.sees("is up", "1 running")
	panes := func() []string {
		return strings.Fields(p.tmux("list-panes", "-F", "#{pane_id}"))
	}
	within(t, patience, "there is a pane beside", func() bool { return len(panes()) == 2 })
	beside := panes()[1]
	shows := func(text string) func() bool {
		return func() bool { return strings.Contains(p.tmux("capture-pane", "-p", "-t", beside), text) }
	}
	within(t, patience, "the session is in it", shows("/workspace$"))
	p.tmux("send-keys", "-t", beside, "-l", "echo beside $((60+2))")
	p.tmux("send-keys", "-t", beside, "Enter")
	within(t, patience, "it takes keys", shows("beside 62"))
	// Somebody closes it: the next look makes another.
	p.tmux("kill-pane", "-t", beside)
	p.presses("Enter")
	within(t, patience, "there is one again", func() bool { return len(panes()) == 2 })
	beside = panes()[1]
	within(t, patience, "with the same session", shows("beside 62"))
	p.presses("q")
	p.sees("1 bottle runs on")
	within(t, patience, "the pane is gone", func() bool { return len(panes()) == 1 })
	if r := h.run(t, "stop", "--all", "--grace", "0s"); r.code != 0 {
		t.Error(r)
	}
}

// A build that prints ten thousand lines disturbs neither the question nor the panes: it begins after the
// yes, and is seen where the launch is.
func TestDashboardLoudBuild(t *testing.T) {
	t.Parallel()
	if containers == nil || containers.name != "docker" && !machines() {
		t.Skip("it takes a system that is built")
	}
	h := loudHome(t)
	p := h.sit(t, 140, 40)
	p.says("env -u TMUX claude-bottle")
	p.sees("no bottles yet")
	p.fresh("lamp", containers.settings()["CLAUDE_BOTTLE_BACKEND"])
	before := p.screen()
	for range 20 {
		time.Sleep(25 * time.Millisecond)
		if now := p.screen(); now != before {
			t.Fatalf("while the question stands the screen changes from\n%s\nto\n%s", before, now)
		}
	}
	if len(entries(t, h)) > 0 {
		t.Fatal("something was begun before the yes")
	}
	p.presses("y")
	p.sees("loud line")
	p.presses("?") // in the middle of it
	whole := func(screen string) bool {
		lines := strings.Split(strings.TrimRight(screen, "\n"), "\n")
		help := strings.Contains(screen, "╭─ keys ") && strings.Contains(screen, "│ q, ctrl+c    leave; bottles go on running")
		return help && len(lines) == 40 && strings.HasPrefix(lines[0], " claude-bottle") && strings.HasPrefix(lines[1], "╭─ bottles ") && strings.HasPrefix(lines[38], "╰─")
	}
	p.until("the help is whole", whole)
	for range 20 {
		time.Sleep(25 * time.Millisecond)
		if screen := p.screen(); !whole(screen) {
			t.Fatalf("the build disturbs the screen:\n%s", screen)
		}
	}
	p.presses("Enter")
	p.sees("is up; enter goes to it", "probes, all sealed")
	p.presses("Tab")
	p.sees("/workspace$")
	p.types("echo in $((40+2))")
	p.sees("in 42")
	p.presses("C-]")
	p.presses("q")
	p.sees("1 bottle runs on")
	if r := h.run(t, "stop", "--all", "--grace", "0s"); r.code != 0 {
		t.Error(r)
	}
}

// Real Claude Code in the dashboard: greeted in the pane, with the whole terminal, and in there again.
func TestDashboardClaude(t *testing.T) {
	t.Parallel()
	onlyNative(t, "a dashboard asks the same of every bottle")
	g := newGenius(t, "claude", 0, smallTalk)
	p := g.home.sit(t, 150, 45)
	p.says("claude-bottle start genius --label lamp --yes --detach; env -u TMUX claude-bottle")
	p.sees("1 running", "lamp")
	p.presses("Tab")
	p.sees("bypass permissions on")
	p.types("greet me")
	p.sees("Greetings from the model.", "POST")
	p.presses("C-]")
	p.presses("Enter")
	p.until("it has the whole terminal", func(screen string) bool {
		return strings.Contains(screen, "Greetings from the model.") && !strings.Contains(screen, "egress of")
	})
	p.presses("C-]", "d")
	p.sees("1 running", "about of genius-")
	p.presses("s")
	p.sees("stop genius-")
	p.presses("y")
	p.sees("0 running")
	p.presses("q")
	p.sees("at-home>")
	g.credentials(t)
}
