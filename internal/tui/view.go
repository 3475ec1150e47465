package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// rect is a part of the screen.
type rect struct{ x, y, w, h int }

func (r rect) has(x, y int) bool { return x >= r.x && x < r.x+r.w && y >= r.y && y < r.y+r.h }

// layout is where things are. An inbox of questions will stand below the bottles.
type layout struct{ bottles, egress, detail rect }

// wide is the least width at which the right side stands beside the bottles and not below.
const wide = 100

func (m *model) layout() layout {
	body := m.h - 2 // a line at the top, one at the bottom
	if m.w < wide {
		top := max(5, min(body*2/5, 2+2*max(1, len(m.rows))))
		rest := body - top
		l := layout{bottles: rect{0, 1, m.w, top}}
		if m.focus == onEgress {
			l.egress = rect{0, 1 + top, m.w, rest}
		} else {
			l.detail = rect{0, 1 + top, m.w, rest}
		}
		return l
	}
	left := min(max(40, m.w/3), 64)
	side := m.w - left
	upper := body / 2
	if m.session() != nil {
		upper = max(6, body/5)
	}
	return layout{
		bottles: rect{0, 1, left, body},
		egress:  rect{left, 1, side, upper},
		detail:  rect{left, 1 + upper, side, body - upper},
	}
}

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.screen(), "\n"))
	v.AltScreen, v.MouseMode = true, tea.MouseModeCellMotion
	v.WindowTitle = "claude-bottle"
	if m.quit {
		v.AltScreen = false
		v.Content = ""
	}
	return v
}

// screen draws all there is, in exactly h lines of w columns.
func (m *model) screen() []string {
	if m.w < 40 || m.h < 10 {
		return []string{"the window is too small"}
	}
	l := m.layout()
	out := []string{fit(m.head(), m.w)}
	bottles := box("bottles", m.bottleLines(l.bottles.w-2, l.bottles.h-2), l.bottles.w, l.bottles.h, m.focus == onBottles)
	if m.w < wide {
		out = append(out, bottles...)
		if l.egress.h > 0 {
			out = append(out, m.egressBox(l.egress)...)
		} else {
			out = append(out, m.detailBox(l.detail)...)
		}
	} else {
		out = append(out, beside(bottles, append(m.egressBox(l.egress), m.detailBox(l.detail)...))...)
	}
	out = append(out, fit(m.foot(), m.w))
	for i, modal := range m.modals {
		if i == len(m.modals)-1 {
			out = over(out, modal.draw(m.w, m.h), m.w)
		}
	}
	return out
}

func (m *model) egressBox(r rect) []string {
	return box("egress"+of(m.shown), m.egress.lines(r.w-2, r.h-2, m.now()), r.w, r.h, m.focus == onEgress)
}

func of(id string) string {
	if id == "" {
		return ""
	}
	return " of " + id
}

func (m *model) detailBox(r rect) []string {
	if m.session() != nil {
		return box("session of "+m.shown+", "+leaveSession+" leaves it", m.session().lines(r.w-2, r.h-2), r.w, r.h, m.focus == onSession)
	}
	lines := m.detailLines(r.w - 2)
	end := max(0, len(lines)-(r.h-2))
	m.scroll = min(m.scroll, end)
	if m.launch() != nil { // of which the last is the news, and scrolling goes back
		return box("launch"+of(m.shown), lines[end-m.scroll:], r.w, r.h, m.focus == onDetail)
	}
	return box("about"+of(m.shown), lines[m.scroll:], r.w, r.h, m.focus == onDetail)
}

// head counts.
func (m *model) head() string {
	running, making, failed, waiting := 0, 0, 0, 0
	for _, r := range m.rows {
		if r.waits {
			waiting++
		}
		switch {
		case r.entry.Alive && r.entry.State == bottle.Creating:
			making++
		case r.entry.Alive:
			running++
		case r.entry.State == bottle.Failed || r.entry.Problem != "":
			failed++
		}
	}
	parts := []string{fmt.Sprintf("%d running", running)}
	if making > 0 {
		parts = append(parts, fmt.Sprintf("%d starting", making))
	}
	if waiting > 0 {
		parts = append(parts, paint(yellow, fmt.Sprintf("%d waiting for you", waiting)))
	}
	if failed > 0 {
		parts = append(parts, paint(red, fmt.Sprintf("%d failed", failed)))
	}
	return " " + paint(bold, "claude-bottle") + "  " + strings.Join(parts, ", ")
}

// foot is the last word, or the keys.
func (m *model) foot() string {
	if m.notice != "" {
		code := plain
		if strings.HasPrefix(m.notice, "error: ") {
			code = red
		}
		return " " + paint(code, m.notice)
	}
	if m.focus == onSession {
		return " " + paint(faint, "every key goes to the agent; "+leaveSession+" leaves the session")
	}
	var keys []string
	for _, a := range m.actions() {
		if a.short != "" {
			keys = append(keys, paint(bold, a.keys[0])+" "+a.short)
		}
	}
	return " " + strings.Join(keys, paint(faint, " · "))
}

// detailLines say all there is to say about the selected bottle.
func (m *model) detailLines(w int) []string {
	r, ok := m.selected()
	if !ok {
		return nil
	}
	if l := m.launch(); l != nil {
		return l.lines(w)
	}
	e := r.entry
	var out []string
	row := func(label, text string) {
		if text == "" {
			return
		}
		for i, line := range wrapped(text, w-12) {
			if i > 0 {
				label = ""
			}
			out = append(out, paint(faint, fit(label, 11))+" "+line)
		}
	}
	sign, code := r.glyph()
	row("state", paint(code, sign+" "+r.word()))
	row("reason", safe(e.Reason))
	row("problem", safe(e.Problem))
	row("agent", e.Agent.String())
	row("bottle", safe(strings.Join(e.Bottles, " + ")))
	row("backend", strings.TrimSpace(safe(e.Backend)+" "+safe(r.status.Report.Runtime)))
	row("label", safe(e.Label))
	out = append(out, preview(r.screen, w)...)
	row("started", e.Started.Local().Format("2006-01-02 15:04:05"))
	row("workspace", workspaceOf(r))
	for i, line := range m.policy(r) {
		label := "may reach"
		if i > 0 {
			label = ""
		}
		out = append(out, paint(faint, fit(label, 11))+" "+line)
	}
	if len(r.status.SelfTest) > 0 {
		row("self-test", fmt.Sprintf("%d probes, all sealed, %.1f ms", len(r.status.SelfTest), r.status.SelfTestMillis))
		row("seal", strings.Join(r.status.Report.Namespaces, ", ")+fmt.Sprintf("; seccomp, Landlock %d", r.status.Report.Landlock))
		row("limits", safe(strings.Join(r.status.Report.Limits, ", ")))
		row("egress", fmt.Sprintf("%d allowed, %d denied, %s out, %s in", r.status.Egress.Allowed, r.status.Egress.Denied, bytesText(r.status.Egress.BytesOut), bytesText(r.status.Egress.BytesIn)))
		row("attached", fmt.Sprintf("%d", r.status.Attached))
	}
	for _, n := range r.status.Report.Notes {
		row("note", safe(n))
	}
	if e.Dir != nil {
		row("folder", safe(e.Dir.Path("")))
	}
	return out
}

// previewed is how many lines of a session are shown without going there.
const previewed = 8

// preview is the end of what a session shows.
func preview(screen []string, w int) []string {
	for len(screen) > 0 && strings.TrimSpace(screen[len(screen)-1]) == "" {
		screen = screen[:len(screen)-1]
	}
	if len(screen) == 0 {
		return nil
	}
	ruler := func(title string) string {
		return paint(faint, title+strings.Repeat("─", max(0, w-ansi.StringWidth(title))))
	}
	out := []string{ruler("── its session shows ")}
	for _, line := range screen[max(0, len(screen)-previewed):] {
		out = append(out, fit(safe(line), w))
	}
	return append(out, ruler(""))
}

// policy is what a bottle may reach. It never changes, so it is asked once.
func (m *model) policy(r row) []string {
	lines, known := m.policies[r.id()]
	if !known {
		if m.policies == nil {
			m.policies = map[string][]string{}
		}
		if lines = m.host.Policy(r.entry); lines != nil { // else it is not written yet
			m.policies[r.id()] = lines
		}
	}
	return lines
}

func workspaceOf(r row) string {
	if r.entry.CopyOf != "" {
		return "a copy of " + safe(r.entry.CopyOf)
	}
	return "an empty folder"
}

// bytesText is a number of bytes: "12 kB".
func bytesText(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n), -1
	for v >= unit && i < 3 {
		v /= unit
		i++
	}
	return fmt.Sprintf("%.1f %cB", v, "kMGT"[i])
}
