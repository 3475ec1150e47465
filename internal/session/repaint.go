package session

import (
	"fmt"
	"slices"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/claude-bottle/claude-bottle/internal/session/escape"
)

// repaint returns what makes a terminal in whatever state show this screen and be in its modes.
// With history, what scrolled off goes before, into the terminal's own scrollback; height is then
// the terminal's, or 0 if unknown.
func (s *screen) repaint(history bool, height int) []byte {
	b := []byte("\x1b[?2026h\x1b[?25l")
	b = append(b, escape.LeaveAlt+escape.Reset+"\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"...)
	if history {
		b = s.appendHistory(b, max(height, s.rows))
	}
	b = s.appendRows(b, s.main)
	if s.inAlt() {
		// The switch saves the main screen's cursor, for the way back.
		b = appendKitty(b, s.main)
		b = fmt.Appendf(b, "\x1b[%d;%dH", s.main.saved.y+1, s.main.saved.x+1)
		b = s.appendCharsets(b, s.main.saved.g0, s.main.saved.g1)
		b = append(b, s.main.saved.pen.String()...)
		b = append(b, escape.AltOn+"\x1b[0m\x1b(B\x1b)B\x0f\x1b[2J"...)
		b = s.appendRows(b, s.alt)
	}
	b = s.appendState(b)
	return append(b, "\x1b[?2026l"...)
}

// appendHistory prints what scrolled off on an empty screen and scrolls it off again.
func (s *screen) appendHistory(b []byte, height int) []byte {
	for _, line := range s.history.lines {
		b = append(b, line...)
		b = append(b, "\x1b[0m\r\n"...)
	}
	b = fmt.Appendf(b, "\x1b[%d;1H", height)
	for range min(len(s.history.lines), height-1) {
		b = append(b, '\n')
	}
	return b
}

func (s *screen) appendRows(b []byte, g *grid) []byte {
	for y := range s.rows {
		b = fmt.Appendf(b, "\x1b[%d;1H", y+1)
		b = renderLine(b, s.row(g, y))
	}
	return b
}

// appendState sets everything but the cells. The terminal is freshly reset, without line wrap.
func (s *screen) appendState(b []byte) []byte {
	g := s.active
	b = appendKitty(b, g)
	b = append(append(append(b, escape.Title...), s.title...), escape.StringEnd...)
	if g.top != 0 || g.bot != s.rows {
		b = fmt.Appendf(b, "\x1b[%d;%dr", g.top+1, g.bot)
	}
	b = append(b, "\x1b[?7h"...)
	// What ESC 8 will return to.
	b = fmt.Appendf(b, "\x1b[%d;%dH", g.saved.y+1, g.saved.x+1)
	b = s.appendCharsets(b, g.saved.g0, g.saved.g1)
	b = append(b, g.saved.pen.String()...)
	b = append(b, "\x1b7\x1b[0m"...)
	for _, n := range s.modes.sorted() {
		b = s.appendMode(b, n)
	}
	b = s.appendCursor(b, g)
	if style, blink := g.emu.CursorStyle(); style != 0 || !blink {
		n := int(style)*2 + 1
		if !blink {
			n++
		}
		b = fmt.Appendf(b, "\x1b[%d q", n)
	}
	b = s.appendCharsets(b, g.g0, g.g1)
	if s.shiftOut {
		b = append(b, 0x0e)
	}
	if g.link.URL != "" {
		b = append(b, ansi.SetHyperlink(g.link.URL, g.link.Params)...)
	}
	if !g.pen.IsZero() {
		b = append(b, g.pen.String()...)
	}
	if s.modes[insertMode] {
		b = append(b, "\x1b[4h"...)
	}
	if !s.modes[7] {
		b = append(b, "\x1b[?7l"...)
	}
	if s.modes[25] {
		b = append(b, "\x1b[?25h"...)
	}
	return b
}

// appendMode turns mode n on, when it is on and no terminal starts with it so.
func (s *screen) appendMode(b []byte, n int) []byte {
	switch {
	case !s.modes[n], n == 25, n == 7, n == insertMode:
		return b
	case n == modifiedKeys:
		return append(b, "\x1b[>4;2m"...)
	case n == 66:
		return append(b, "\x1b="...)
	}
	return fmt.Appendf(b, "\x1b[?%dh", n)
}

// appendCursor moves the cursor to its place, and to the brink of wrapping if it is there.
func (s *screen) appendCursor(b []byte, g *grid) []byte {
	at := g.emu.CursorPosition()
	y := at.Y
	if s.modes[6] { // origin mode: rows count from the region's first
		y -= g.top
	}
	b = fmt.Appendf(b, "\x1b[%d;%dH", y+1, at.X+1)
	if g.pending() {
		if c := g.emu.CellAt(at.X, at.Y); c != nil {
			b = append(append(b, c.Style.String()...), c.Content...)
			b = append(b, "\x1b[0m"...)
		}
	}
	return b
}

func (s *screen) appendCharsets(b []byte, g0, g1 byte) []byte {
	return append(b, 0x1b, '(', g0, 0x1b, ')', g1)
}

func appendKitty(b []byte, g *grid) []byte {
	for _, flags := range g.kitty {
		b = append(append(append(b, "\x1b[>"...), flags...), 'u')
	}
	return b
}

func (m modes) sorted() []int {
	all := make([]int, 0, len(m))
	for n := range m {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// renderLine appends the cells of l with their colours and links, less the blanks at its end. It
// leaves the pen as it found it: reset. After a character that terminals may disagree about the
// width of, it says where the next one goes.
func renderLine(b []byte, l uv.Line) []byte {
	var pen uv.Style
	var link uv.Link
	end := len(l)
	for end > 0 && (l[end-1].IsZero() || l[end-1].Equal(&uv.EmptyCell)) {
		end--
	}
	for x := range end {
		c := &l[x]
		if c.IsZero() { // the second half of a wide character
			continue
		}
		if !c.Style.Equal(&pen) {
			b = append(b, "\x1b[0m"...)
			if !c.Style.IsZero() {
				b = append(b, c.Style.String()...)
			}
			pen = c.Style
		}
		if c.Link != link {
			b = append(b, ansi.SetHyperlink(c.Link.URL, c.Link.Params)...)
			link = c.Link
		}
		b = append(b, c.Content...)
		if len(c.Content) > 3 || c.Width > 1 {
			b = fmt.Appendf(b, "\x1b[%dG", x+max(1, c.Width)+1)
		}
	}
	if !link.IsZero() {
		b = append(b, ansi.ResetHyperlink()...)
	}
	if !pen.IsZero() {
		b = append(b, "\x1b[0m"...)
	}
	return b
}
