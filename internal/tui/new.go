package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// newBottle asks for what a new bottle is made of, one thing after the other, draws the preflight from
// what that resolves to, and launches it after a yes. Until then nothing runs.
func (m *model) newBottle() tea.Cmd {
	c, err := m.host.Choices()
	if err != nil {
		m.fail(err)
		return nil
	}
	if len(c.Agents) == 0 {
		m.say("there is no agent yet: write agents/<name>.md into your claude-bottle home")
		return nil
	}
	counts := map[string]int{}
	for _, r := range m.rows {
		if r.entry.Alive {
			counts[r.entry.Agent.String()]++
		}
	}
	agents := append([]Choice{}, c.Agents...)
	for i, a := range agents {
		if n := counts[a.Name]; n > 0 {
			agents[i].About = strings.TrimSpace(fmt.Sprintf("%d running  %s", n, a.About))
		}
	}
	m.pick("a new bottle of which agent?", agents, func(a Choice) tea.Cmd {
		r := m.known
		r.Agent = a.Name
		return m.chooseBackend(c, r)
	})
	return nil
}

func (m *model) chooseBackend(c Choices, r Request) tea.Cmd {
	if r.Backend != "" || len(c.Backends) < 2 {
		return m.chooseBottles(c, r)
	}
	m.pick("on which backend?", c.Backends, func(b Choice) tea.Cmd {
		r.Backend = b.Name
		return m.chooseBottles(c, r)
	})
	return nil
}

func (m *model) chooseBottles(c Choices, r Request) tea.Cmd {
	if len(r.Bottles) > 0 || len(c.Bottles) < 2 {
		return m.chooseLabel(c, r)
	}
	m.pickMany("in which bottles? none is the agent's own", c.Bottles, func(marked []Choice) tea.Cmd {
		for _, b := range marked {
			r.Bottles = append(r.Bottles, b.Name)
		}
		return m.chooseLabel(c, r)
	})
	return nil
}

// maxLabel bounds a label, in bytes.
const maxLabel = 60

func (m *model) chooseLabel(c Choices, r Request) tea.Cmd {
	if r.Label != "" {
		return m.show(r)
	}
	m.push(&input{title: "a label, or none", max: maxLabel, then: func(text string) tea.Cmd {
		if r.Label = strings.TrimSpace(text); r.Label == "" {
			return m.show(r)
		}
		list := []Choice{{Name: "none"}}
		for _, name := range c.Colors {
			list = append(list, Choice{Name: name})
		}
		m.pick("in which colour?", list, func(color Choice) tea.Cmd {
			if color.Name != "none" {
				r.Color = color.Name
			}
			return m.show(r)
		})
		return nil
	}})
	return nil
}

// show draws the preflight.
func (m *model) show(r Request) tea.Cmd {
	if m.picked != nil {
		m.picked(r)
		return nil
	}
	p, err := m.host.Prepare(r)
	if err != nil {
		m.fail(err)
		return nil
	}
	m.push(&preflight{p: p, yes: func() tea.Cmd { return m.begin(p) }})
	return nil
}

// preflight is what a launch will be, and the question.
type preflight struct {
	p      Preflight
	yes    func() tea.Cmd
	scroll int
}

func (f *preflight) key(k tea.KeyPressMsg) (over bool, then func() tea.Cmd) {
	switch k.String() {
	case "y", "Y":
		if f.p.Obstacle() == "" {
			return true, f.yes
		}
	case "n", "N", "esc", "enter", "q":
		return true, nil
	case "down", "j":
		f.scroll++
	case "up", "k":
		f.scroll = max(0, f.scroll-1)
	}
	return false, nil
}

func (f *preflight) draw(w, h int) []string {
	width := min(86, w-4)
	lines := f.p.Lines(width - 4)
	room := max(1, h-8)
	f.scroll = min(f.scroll, max(0, len(lines)-room))
	shown := lines[f.scroll:min(len(lines), f.scroll+room)]
	ask := "launch " + f.p.ID() + "?  " + paint(bold, "y") + "/" + paint(bold, "N")
	if why := f.p.Obstacle(); why != "" {
		ask = paint(red, fit(safe(why), width-4))
	}
	if len(lines) > room {
		ask += paint(faint, "   ↑↓ show the rest")
	}
	return framed("preflight", append(append([]string{}, shown...), "", ask), w, h)
}

// launching is a launch under way, or one that failed.
type launching struct {
	id    string
	told  []progress.Event
	err   error
	ended bool
}

// maxTold is how many lines of a launch are kept here; its log on disk has all.
const maxTold = 2000

// launched is what a launch says, or its end.
type launched struct {
	id     string
	events []progress.Event
	err    error
	ended  bool
}

// launch is that of the selected bottle, as long as it goes on or when it failed; nil otherwise.
func (m *model) launch() *launching {
	r, ok := m.selected()
	if !ok {
		return nil
	}
	if l := m.launches[r.id()]; l != nil && (r.entry.State == bottle.Creating || l.err != nil) {
		return l
	}
	return nil
}

// begin launches what was said yes to.
func (m *model) begin(p Preflight) tea.Cmd {
	id := p.ID()
	m.launches[id] = &launching{id: id}
	m.shown = id
	ctx, send := m.ctx, m.send
	start := func() tea.Msg {
		each := gathering(func(some []progress.Event) { send(launched{id: id, events: some}) })
		err := p.Launch(ctx, each.add)
		each.flush()
		return launched{id: id, err: err, ended: true}
	}
	if m.tmux == nil {
		return tea.Batch(start, m.list())
	}
	return tea.Batch(start, m.list(), m.beside(id, m.host.Logs(id, true)))
}

func (m *model) launched(msg launched) tea.Cmd {
	l := m.launches[msg.id]
	if l == nil {
		return nil
	}
	l.told = append(l.told, msg.events...)
	if n := len(l.told); n > maxTold {
		l.told = l.told[n-maxTold:]
	}
	if !msg.ended {
		return nil
	}
	l.ended, l.err = true, msg.err
	switch {
	case msg.err != nil:
		m.fail(fmt.Errorf("launch of %s: %w", msg.id, msg.err))
	default:
		m.say(msg.id + " is up; enter goes to it")
		if m.tmux != nil {
			return tea.Batch(m.list(), m.beside(msg.id, m.host.Attach(msg.id)))
		}
	}
	return m.list()
}

// lines draws a launch, the newest line at the bottom.
func (l *launching) lines(w int) []string {
	var out []string
	step := ""
	for _, e := range l.told {
		if e.Line == "" {
			continue
		}
		label := ""
		if e.Step != step {
			step, label = e.Step, e.Step
		}
		out = append(out, paint(faint, fit(safe(label), 10))+" "+fit(safe(e.Line), w-11))
	}
	if l.err != nil {
		for _, line := range wrapped("failed: "+safe(l.err.Error()), w) {
			out = append(out, paint(red, line))
		}
		out = append(out, paint(faint, "L pages through all of its launch"))
	}
	return out
}
