package session

import (
	"bytes"
	"io"
	"reflect"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"

	"github.com/claude-bottle/claude-bottle/internal/session/escape"
)

// feedSize is how much an emulator gets at once: small, so that what scrolls off in between can be
// kept as text instead of cells, which are some fifty times larger.
const feedSize = 1 << 10

// screen is what the process's terminal looks like. The emulator has no way to see the main screen
// while the alternate one is on and keeps ten thousand lines of the latter's scrolling, so there is
// one emulator for each, and neither is ever told to switch. It is not safe for concurrent use.
type screen struct {
	rows, cols int
	main, alt  *grid // alt is nil until used
	active     *grid
	modes      modes
	title      string
	used       bool // something was written
	shiftOut   bool // G1 is in use
	history    history
	scrolled   func(line string) // gets what scrolls off, instead of history
	answers    []byte            // to questions asked by the write at hand
	// leftAlt is set when the main screen came back, until the owner resets it.
	leftAlt bool
}

// grid is one of the two screens.
type grid struct {
	emu   *vt.Emulator
	pen   uv.Style
	link  uv.Link
	g0    byte // 'B' is ASCII, '0' line drawing
	g1    byte
	top   int // first and last scrolling row, from 0; bottom is exclusive
	bot   int
	saved saved
	kitty []string // keyboard flags, the current ones last
}

// saved is what ESC 7 keeps.
type saved struct {
	x, y   int
	pen    uv.Style
	g0, g1 byte
}

func newScreen(rows, cols int) *screen {
	s := &screen{rows: rows, cols: cols, modes: defaultModes()}
	s.main = s.newGrid()
	s.active = s.main
	return s
}

func (s *screen) newGrid() *grid {
	g := &grid{emu: vt.NewEmulator(s.cols, s.rows), g0: 'B', g1: 'B', bot: s.rows}
	g.saved.g0, g.saved.g1 = 'B', 'B'
	g.emu.SetScrollbackSize(feedSize)
	// The emulator answers questions through a synchronous pipe and would hang without a reader; we
	// answer ourselves, and a closed pipe can't hang.
	if c, ok := g.emu.InputPipe().(io.Closer); ok {
		_ = c.Close() // closing a pipe can't fail
	}
	s.track(g)
	return g
}

func (s *screen) inAlt() bool { return s.active == s.alt && s.alt != nil }

// write shows p, which an escape.Filter let through, and returns the answers to the questions in
// it.
func (s *screen) write(p []byte) (answers []byte) {
	s.answers, s.used = nil, true
	for {
		before, rest, ok := bytes.Cut(p, []byte(escape.Title))
		title, after, ended := bytes.Cut(rest, []byte(escape.StringEnd))
		if !ok || !ended {
			break
		}
		// The emulator doesn't get to see it: it would end it at a byte 0x9c, in the middle of the
		// characters programs like to begin their titles with, and print the rest.
		s.show(before)
		s.title, p = string(title), after
	}
	s.show(p)
	return s.answers
}

// show writes what is not a title.
func (s *screen) show(p []byte) {
	const alt = "\x1b[?1049" // as escape.AltOn and AltOff spell it
	for {
		i := bytes.Index(p, []byte(alt))
		if i < 0 || i+len(alt) >= len(p) {
			break
		}
		s.feed(p[:i])
		s.switchTo(p[i+len(alt)] == 'h')
		p = p[i+len(alt)+1:]
	}
	s.feed(p)
}

// feed gives p to the active emulator.
func (s *screen) feed(p []byte) {
	if i := bytes.LastIndexAny(p, "\x0e\x0f"); i >= 0 {
		s.shiftOut = p[i] == 0x0e
	}
	for aligned := false; len(p) > 0; {
		if n := s.skim(p); n > 0 {
			p = p[n:]
			continue
		}
		n := cut(p, feedSize)
		if i := bytes.IndexByte(p, '\n'); !aligned && i >= 0 {
			n, aligned = min(n, i+1), true // pieces of output end anywhere; skim wants whole lines
		}
		if !s.try(p[:n]) {
			// It is a new emulator now, empty: better than a warden that dies of a sequence.
			s.rebuild()
		}
		s.keep()
		p = p[n:]
	}
}

// cut returns where to end a piece of p of about size bytes: before an ASCII character, so that
// none made of several runes is cut.
func cut(p []byte, size int) int {
	if len(p) <= size {
		return len(p)
	}
	for n := size; n > size/2; n-- {
		if p[n] < 0x80 {
			return n
		}
	}
	return size
}

// try writes p, and reports whether the emulator survived.
func (s *screen) try(p []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	_, _ = s.active.emu.Write(p) // fails only when closed, which it never is
	return true
}

// rebuild replaces the active grid by an empty one.
func (s *screen) rebuild() {
	g := s.newGrid()
	if s.inAlt() {
		s.alt, s.active = g, g
	} else {
		s.main, s.active = g, g
	}
}

// keep takes what scrolled off the main screen into the history.
func (s *screen) keep() {
	back := s.active.emu.Scrollback()
	if back.Len() == 0 {
		return
	}
	if s.active == s.main {
		for _, line := range back.Lines() {
			s.push(string(renderLine(nil, line)))
		}
	}
	clear(back.Lines()) // Clear keeps the array, and with it the cells
	back.Clear()
}

// push takes one line with its colours.
func (s *screen) push(line string) {
	if s.scrolled != nil {
		s.scrolled(line)
		return
	}
	s.history.add(line)
}

// switchTo turns the alternate screen on or off.
func (s *screen) switchTo(alt bool) {
	if alt == s.inAlt() {
		return
	}
	if !alt {
		s.active, s.leftAlt = s.main, true
		s.main.restoreSaved()
		return
	}
	s.main.save()
	if s.alt == nil {
		s.alt = s.newGrid()
	}
	s.active = s.alt
	s.alt.kitty = nil
	var b []byte
	b = append(b, "\x1b[r\x1b[0m\x1b[H\x1b[2J"...)
	b = s.appendCharsets(b, s.main.g0, s.main.g1)
	b = append(b, s.main.pen.String()...)
	s.feed(b)
	s.active.link = uv.Link{}
}

// resize sets the size. Lines are cut or padded, not wrapped anew: a program that cares redraws.
func (s *screen) resize(rows, cols int) {
	s.rows, s.cols = rows, cols
	for _, g := range []*grid{s.main, s.alt} {
		if g == nil {
			continue
		}
		g.top, g.bot = 0, rows
		if func() (ok bool) {
			defer func() { ok = recover() == nil }()
			g.emu.Resize(cols, rows)
			return
		}() {
			continue
		}
		active := s.active
		s.active = g
		s.rebuild()
		if active != g {
			s.active = active
		}
	}
}

// pending reports whether the next character would wrap to the next line first. The emulator
// has no accessor for it; a test notices when the field is renamed.
func (g *grid) pending() bool {
	f := reflect.ValueOf(g.emu).Elem().FieldByName("atPhantom")
	return f.IsValid() && f.Kind() == reflect.Bool && f.Bool()
}

func (g *grid) save() {
	at := g.emu.CursorPosition()
	g.saved = saved{at.X, at.Y, g.pen, g.g0, g.g1}
}

func (g *grid) restoreSaved() {
	g.pen, g.g0, g.g1 = g.saved.pen, g.saved.g0, g.saved.g1
}

// snapshot is what a recording starts a new part with.
func (s *screen) snapshot() []byte { return s.repaint(false, s.rows) }

// history is the text that scrolled off, with its colours, bounded in lines and bytes.
type history struct {
	lines []string
	size  int
}

const (
	historyLines = 1000
	historyBytes = 512 << 10
)

func (h *history) add(line string) {
	if len(line) > historyBytes/8 {
		return // no screen is that wide; only a flood of colours and links makes it so
	}
	h.lines = append(h.lines, line)
	h.size += len(line)
	drop := 0
	for h.size > historyBytes || len(h.lines)-drop > historyLines {
		h.size -= len(h.lines[drop])
		h.lines[drop] = ""
		drop++
	}
	h.lines = h.lines[drop:]
}

func (h *history) clear() { h.lines, h.size = nil, 0 }
