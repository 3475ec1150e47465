package tui

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// modal is something that has the keys until it is answered.
type modal interface {
	// key takes a key. With over it is answered and closed, and then, when not nil, comes what is next.
	key(k tea.KeyPressMsg) (over bool, then func() tea.Cmd)
	// draw draws it for a screen of that size.
	draw(w, h int) []string
}

func (m *model) push(d modal) { m.modals = append(m.modals, d) }

// notice is text to be read.
type notice struct {
	title string
	lines []string
}

func (n *notice) key(tea.KeyPressMsg) (over bool, then func() tea.Cmd) { return true, nil }

func (n *notice) draw(w, h int) []string { return framed(n.title, n.lines, w, h) }

// framed is a box as large as what is in it.
func framed(title string, lines []string, w, h int) []string {
	width := ansi.StringWidth(title) + 6
	for _, l := range lines {
		width = max(width, ansi.StringWidth(l)+4)
	}
	inside := make([]string, len(lines))
	for i, l := range lines {
		inside[i] = " " + l
	}
	return box(title, inside, min(width, w-2), min(len(lines)+2, h-2), true)
}

// question is answered by y or n.
type question struct {
	text string
	yes  func() tea.Cmd
}

func (m *model) ask(text string, yes func() tea.Cmd) { m.push(&question{text, yes}) }

func (q *question) key(k tea.KeyPressMsg) (over bool, then func() tea.Cmd) {
	switch k.String() {
	case "y", "Y":
		return true, q.yes
	case "n", "N", "esc", "enter", "q":
		return true, nil
	}
	return false, nil
}

func (q *question) draw(w, h int) []string {
	return framed("", []string{"", q.text + "  " + paint(bold, "y") + "/" + paint(bold, "N"), ""}, w, h)
}

// picker is a choice among several, narrowed by typing.
type picker struct {
	title  string
	all    []Choice
	typed  string
	at     int
	many   bool
	marked []string // in the order they were marked
	then   func([]Choice) tea.Cmd
}

func (m *model) pick(title string, all []Choice, then func(Choice) tea.Cmd) {
	m.push(&picker{title: title, all: all, then: func(c []Choice) tea.Cmd { return then(c[0]) }})
}

// pickMany lets several be marked, in an order that counts; none is an answer too.
func (m *model) pickMany(title string, all []Choice, then func([]Choice) tea.Cmd) {
	m.push(&picker{title: title, all: all, many: true, then: then})
}

// found are the choices that match what was typed: its letters, in order.
func (p *picker) found() []Choice {
	var out []Choice
	for _, c := range p.all {
		if fuzzy(strings.ToLower(c.Name), strings.ToLower(p.typed)) {
			out = append(out, c)
		}
	}
	return out
}

func fuzzy(text, typed string) bool {
	for _, r := range typed {
		i := strings.IndexRune(text, r)
		if i < 0 {
			return false
		}
		text = text[i+len(string(r)):]
	}
	return true
}

func (p *picker) key(k tea.KeyPressMsg) (over bool, then func() tea.Cmd) {
	found := p.found()
	switch k.String() {
	case "esc":
		return true, nil
	case "up", "ctrl+k":
		p.at--
	case "down", "ctrl+j":
		p.at++
	case "backspace":
		if r := []rune(p.typed); len(r) > 0 {
			p.typed, p.at = string(r[:len(r)-1]), 0
		}
	case "space", "tab":
		if p.many && p.at < len(found) {
			p.mark(found[p.at].Name)
		}
	case "enter":
		return p.enter(found)
	default:
		if k.Text != "" {
			p.typed, p.at = p.typed+k.Text, 0
		}
	}
	p.at = min(max(0, p.at), max(0, len(p.found())-1))
	return false, nil
}

func (p *picker) mark(name string) {
	if i := slices.Index(p.marked, name); i >= 0 {
		p.marked = slices.Delete(p.marked, i, i+1)
	} else {
		p.marked = append(p.marked, name)
	}
}

func (p *picker) enter(found []Choice) (over bool, then func() tea.Cmd) {
	if p.many {
		var out []Choice
		for _, name := range p.marked {
			out = append(out, p.all[slices.IndexFunc(p.all, func(c Choice) bool { return c.Name == name })])
		}
		return true, func() tea.Cmd { return p.then(out) }
	}
	if p.at >= len(found) {
		return false, nil
	}
	return true, func() tea.Cmd { return p.then(found[p.at : p.at+1]) }
}

func (p *picker) draw(w, h int) []string {
	width := min(72, w-8)
	found := p.found()
	lines := []string{fit(p.typed+"▏", width), ""}
	var list []string
	name := 12
	for _, c := range p.all {
		name = min(max(name, ansi.StringWidth(c.Name)), width*2/3)
	}
	for i, c := range found {
		mark := " "
		if n := slices.Index(p.marked, c.Name); n >= 0 {
			mark = string(rune('1' + min(n, 8)))
		}
		code := plain
		if c.Broken {
			code = red
		}
		text := mark + " " + paint(code, fit(c.Name, name)) + " " + paint(faint, c.About)
		if i == p.at {
			text = paint(chosen, ">") + text
		} else {
			text = " " + text
		}
		list = append(list, fit(text, width))
	}
	if len(found) == 0 {
		list = []string{paint(faint, "nothing matches")}
	}
	lines = append(lines, window(list, p.at, max(1, min(len(p.all), h-10)))...)
	tail := "enter takes it, esc leaves"
	if p.many {
		tail = "space marks, in order; enter goes on with what is marked, or none; esc leaves"
	}
	return framed(p.title, append(lines, "", paint(faint, fit(tail, width))), w, h)
}

// input is a line to be typed.
type input struct {
	title, text string
	max         int
	then        func(string) tea.Cmd
}

func (i *input) key(k tea.KeyPressMsg) (over bool, then func() tea.Cmd) {
	switch k.String() {
	case "esc":
		return true, nil
	case "enter":
		return true, func() tea.Cmd { return i.then(i.text) }
	case "backspace":
		if r := []rune(i.text); len(r) > 0 {
			i.text = string(r[:len(r)-1])
		}
	default:
		if len(i.text)+len(k.Text) <= i.max {
			i.text += k.Text
		}
	}
	return false, nil
}

func (i *input) draw(w, h int) []string {
	width := min(66, w-8)
	return framed(i.title, []string{"", fit(i.text+"▏", width), "", paint(faint, "enter goes on, esc leaves")}, w, h)
}
