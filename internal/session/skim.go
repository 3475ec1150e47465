package session

import (
	"bytes"
	"unicode/utf8"

	uv "github.com/charmbracelet/ultraviolet"
)

// skim takes in, at once, plain lines at the start of p that scroll a whole screen or more, and
// returns how many bytes they are; 0 means it can't, and p goes the usual way. The emulator moves
// every cell for every line scrolled, so that printing a long file would take it a second for a
// megabyte; all but the last screenful never needs to be cells.
func (s *screen) skim(p []byte) int {
	if !s.atPrompt() {
		return 0
	}
	var ends []int
	for from := 0; ; {
		n := plainLine(p[from:], s.cols)
		if n == 0 {
			break
		}
		from += n
		ends = append(ends, from)
	}
	if len(ends) < s.rows {
		return 0
	}
	for y := range s.rows - 1 {
		s.push(string(renderLine(nil, s.row(s.main, y))))
	}
	stay := len(ends) - (s.rows - 1) // the first line that stays on the screen
	from := 0
	for i, end := range ends[:stay] {
		line := p[from : end-2]
		from = end
		// Lines the history would forget at once need not enter it; their colours count.
		s.skimLine(line, s.scrolled != nil || stay-i <= historyLines)
	}
	ok := s.try([]byte("\x1b[H\x1b[J")) && s.try(p[from:ends[len(ends)-1]])
	if !ok {
		s.rebuild()
	}
	s.keep()
	return ends[len(ends)-1]
}

// atPrompt reports whether a plain line would be written on an empty last row and scroll the whole
// main screen by one.
func (s *screen) atPrompt() bool {
	g := s.main
	at := g.emu.CursorPosition()
	if s.active != g || s.rows < 2 || at.X != 0 || at.Y != s.rows-1 || g.top != 0 || g.bot != s.rows ||
		s.shiftOut || g.g0 != 'B' || g.link.URL != "" || s.modes[insertMode] || s.modes[6] || !s.modes[7] || g.pending() {
		return false
	}
	for _, c := range s.row(g, s.rows-1) {
		if !c.IsZero() && !c.Equal(&uv.EmptyCell) {
			return false
		}
	}
	return true
}

// row returns a copy of one row's cells.
func (s *screen) row(g *grid, y int) uv.Line {
	line := make(uv.Line, s.cols)
	for x := range line {
		line[x] = uv.EmptyCell
		if c := g.emu.CellAt(x, y); c != nil {
			line[x] = *c
		}
	}
	return line
}

// skimLine hands one line to the history, in the pieces it wraps into, if it is to be kept.
func (s *screen) skimLine(line []byte, kept bool) {
	pen := ""
	if kept && !s.main.pen.IsZero() {
		pen = s.main.pen.String()
	}
	coloured := bytes.IndexByte(line, 0x1b) >= 0
	if kept {
		text := line
		for !coloured && len(text) > s.cols && ascii(text) {
			s.push(pen + string(text[:s.cols]) + "\x1b[0m")
			text = text[s.cols:]
		}
		s.push(pen + string(text) + "\x1b[0m")
	}
	for coloured {
		i := bytes.IndexByte(line, 0x1b)
		if i < 0 {
			break
		}
		n := colour(line[i:])
		s.try(line[i : i+n])
		line = line[i+n:]
	}
}

func ascii(p []byte) bool {
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// plainLine returns the length of the line at the start of p, its CR LF included, when that is all
// text and colours and, unless it is all ASCII, sure to fit in cols; else 0.
func plainLine(p []byte, cols int) int {
	width, simple := 0, true
	for i := 0; i < len(p); {
		switch c := p[i]; {
		case c >= ' ' && c < 0x7f:
			width++
			i++
		case c == '\r':
			if i+1 >= len(p) || p[i+1] != '\n' || !simple && width > cols {
				return 0
			}
			return i + 2
		case c == '\t':
			width += 8
			simple = false
			i++
		case c >= utf8.RuneSelf:
			_, n := utf8.DecodeRune(p[i:])
			width += 2
			simple = false
			i += n
		case c == 0x1b:
			n := colour(p[i:])
			if n == 0 {
				return 0
			}
			simple = false
			i += n
		default:
			return 0
		}
	}
	return 0
}

// colour returns the length of the SGR sequence at the start of p, or 0.
func colour(p []byte) int {
	if len(p) < 3 || p[1] != '[' {
		return 0
	}
	for i := 2; i < len(p); i++ {
		switch c := p[i]; {
		case c == 'm':
			return i + 1
		case c < '0' || c > ';':
			return 0
		}
	}
	return 0
}
