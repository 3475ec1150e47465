package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"
)

// action is something the operator can do: by a key, and by its name in the palette.
type action struct {
	keys  []string
	name  string
	short string // in the bottom line; empty for none
	do    func() tea.Cmd
}

// actions are all there are, in the order of the help.
func (m *model) actions() []action {
	return []action{
		{[]string{"n"}, "new bottle", "new", m.newBottle},
		{[]string{"enter"}, "attach to the selected bottle", "attach", m.attach},
		{[]string{"tab"}, "show its session in here", "session", m.openSession},
		{[]string{"x"}, "close its session in here", "", m.closeSession},
		{[]string{"s"}, "stop it", "stop", m.stop},
		{[]string{"l"}, "page through what it did", "logs", func() tea.Cmd { return m.logs(false) }},
		{[]string{"L"}, "page through its launch", "", func() tea.Cmd { return m.logs(true) }},
		{[]string{"y"}, "copy its id", "", m.copyID},
		{[]string{"e"}, "edit its agent's or bottle's file", "edit", m.edit},
		{[]string{"/"}, "filter the egress", "filter", func() tea.Cmd { m.focus, m.egress.filtering = onEgress, true; return nil }},
		{[]string{"j", "down"}, "down", "", func() tea.Cmd { return m.move(1) }},
		{[]string{"k", "up"}, "up", "", func() tea.Cmd { return m.move(-1) }},
		{[]string{"pgdown"}, "a page down", "", func() tea.Cmd { return m.move(10) }},
		{[]string{"pgup"}, "a page up", "", func() tea.Cmd { return m.move(-10) }},
		{[]string{"home", "g"}, "to the first", "", func() tea.Cmd { return m.move(-1 << 30) }},
		{[]string{"end", "G"}, "to the last", "", func() tea.Cmd { return m.move(1 << 30) }},
		{[]string{"right"}, "to the next pane", "", func() tea.Cmd { m.focus = (m.focus + 1) % onSession; return nil }},
		{[]string{"left"}, "to the pane before", "", func() tea.Cmd { m.focus = (m.focus + onSession - 1) % onSession; return nil }},
		{[]string{":", "ctrl+p"}, "all that can be done, by name", "", m.palette},
		{[]string{"?"}, "the keys", "keys", m.help},
		{[]string{"q", "ctrl+c"}, "leave; bottles go on running", "quit", m.leave},
	}
}

// copyID puts the selected bottle's id into the clipboard of the operator's terminal.
func (m *model) copyID() tea.Cmd {
	r, ok := m.selected()
	if !ok {
		return nil
	}
	m.say("copied " + r.id())
	return tea.SetClipboard(r.id())
}

func (m *model) help() tea.Cmd {
	var lines []string
	for _, a := range m.actions() {
		lines = append(lines, paint(bold, fit(strings.Join(a.keys, ", "), 12))+" "+a.name)
	}
	m.push(&notice{"keys", lines})
	return nil
}

func (m *model) palette() tea.Cmd {
	var all []Choice
	byName := map[string]func() tea.Cmd{}
	for _, a := range m.actions() {
		all = append(all, Choice{Name: a.name, About: strings.Join(a.keys, ", ")})
		byName[a.name] = a.do
	}
	m.pick("do what?", all, func(c Choice) tea.Cmd { return byName[c.Name]() })
	return nil
}
