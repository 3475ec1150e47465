package session

import (
	"fmt"
	"strconv"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// modes are the private modes that a repaint restores, by number.
type modes map[int]bool

// defaultModes returns what a terminal starts with. Only these are tracked.
func defaultModes() modes {
	return modes{
		1: false, 5: false, 6: false, 7: true, 9: false, 12: false, 25: true, 66: false,
		1000: false, 1002: false, 1003: false, 1004: false, 1005: false, 1006: false, 1007: false,
		1015: false, 1016: false, 2004: false, 2027: false, 2031: false,
		insertMode: false, modifiedKeys: false,
	}
}

// Things that are no private modes but are kept beside them.
const (
	insertMode   = -4
	modifiedKeys = -5
)

// track follows, in g's emulator, what the emulator knows and doesn't tell: pen, modes, saved
// cursor. The handlers run before the emulator's own and leave the sequence to them unless they
// return true.
func (s *screen) track(g *grid) {
	s.trackPen(g)
	s.trackModes(g)
	s.trackKeyboard(g)
	s.trackQuestions(g)
}

func (s *screen) trackPen(g *grid) {
	g.emu.RegisterCsiHandler('m', func(p ansi.Params) bool {
		uv.ReadStyle(p, &g.pen)
		return false
	})
	g.emu.RegisterOscHandler(8, func(data []byte) bool {
		if parts := strings.Split(string(data), ";"); len(parts) == 3 {
			g.link = uv.Link{Params: parts[1], URL: parts[2]}
		}
		return false
	})
	g.emu.RegisterEscHandler('7', func() bool { g.save(); return false })
	g.emu.RegisterEscHandler('8', func() bool { g.restoreSaved(); return false })
	for _, set := range []byte("AB0") {
		g.emu.RegisterEscHandler(ansi.Command(0, '(', set), func() bool { g.g0 = set; return false })
		g.emu.RegisterEscHandler(ansi.Command(0, ')', set), func() bool { g.g1 = set; return false })
	}
	g.emu.RegisterCsiHandler('r', func(p ansi.Params) bool {
		top, _, _ := p.Param(0, 1)
		bot, _, _ := p.Param(1, s.rows)
		if bot < 1 {
			bot = s.rows
		}
		if top = max(top, 1); top >= bot || bot > s.rows {
			return true
		}
		g.top, g.bot = top-1, bot
		return false
	})
	g.emu.RegisterCsiHandler('J', func(p ansi.Params) bool {
		if n, _, _ := p.Param(0, 0); n != 3 {
			return false
		}
		// It clears what scrolled off; the emulator would clear the screen with it.
		if g == s.main {
			s.history.clear()
		}
		return true
	})
}

func (s *screen) trackModes(g *grid) {
	set := func(on bool) func(ansi.Params) bool {
		return func(p ansi.Params) bool {
			n, _, _ := p.Param(0, 0)
			if _, known := s.modes[n]; known {
				s.modes[n] = on
			}
			return n == 25 // the cursor's visibility is ours to keep: ESC 8 would change the emulator's
		}
	}
	g.emu.RegisterCsiHandler(ansi.Command('?', 0, 'h'), set(true))
	g.emu.RegisterCsiHandler(ansi.Command('?', 0, 'l'), set(false))
	insert := func(on bool) func(ansi.Params) bool {
		return func(ansi.Params) bool { s.modes[insertMode] = on; return false }
	}
	g.emu.RegisterCsiHandler('h', insert(true))
	g.emu.RegisterCsiHandler('l', insert(false))
	g.emu.RegisterEscHandler('=', func() bool { s.modes[66] = true; return false })
	g.emu.RegisterEscHandler('>', func() bool { s.modes[66] = false; return false })
}

// maxKitty bounds the keyboard's stack, as terminals do.
const maxKitty = 16

func (s *screen) trackKeyboard(g *grid) {
	flags := func(p ansi.Params) string {
		n, _, _ := p.Param(0, 0)
		return strconv.Itoa(n)
	}
	g.emu.RegisterCsiHandler(ansi.Command('>', 0, 'u'), func(p ansi.Params) bool {
		if g.kitty = append(g.kitty, flags(p)); len(g.kitty) > maxKitty {
			g.kitty = append(g.kitty[:0], g.kitty[1:]...)
		}
		return true
	})
	g.emu.RegisterCsiHandler(ansi.Command('<', 0, 'u'), func(p ansi.Params) bool {
		n, _, _ := p.Param(0, 1)
		g.kitty = g.kitty[:max(0, len(g.kitty)-max(1, n))]
		return true
	})
	g.emu.RegisterCsiHandler(ansi.Command('=', 0, 'u'), func(p ansi.Params) bool {
		if how, _, _ := p.Param(1, 1); how != 1 {
			return true // adding and removing single flags is used by nobody we know of
		}
		if len(g.kitty) == 0 {
			g.kitty = append(g.kitty, "")
		}
		g.kitty[len(g.kitty)-1] = flags(p)
		return true
	})
	g.emu.RegisterCsiHandler(ansi.Command('>', 0, 'm'), func(p ansi.Params) bool {
		n, _, _ := p.Param(1, 0)
		s.modes[modifiedKeys] = n == 1 || n == 2
		return true
	})
}

// trackQuestions answers what the program asks, as an unremarkable terminal with a dark ground.
// Not answered: which keyboard protocol there is, for the terminal that attaches later may have
// none.
func (s *screen) trackQuestions(g *grid) {
	answer := func(format string, args ...any) bool {
		s.answers = fmt.Appendf(s.answers, format, args...)
		return true
	}
	csi := func(prefix, mid, final byte, f func(n int) bool) {
		g.emu.RegisterCsiHandler(ansi.Command(prefix, mid, final), func(p ansi.Params) bool {
			n, _, _ := p.Param(0, 0)
			f(n)
			return true
		})
	}
	where := func(mark string) bool {
		at := g.emu.CursorPosition()
		y := at.Y
		if s.modes[6] {
			y -= g.top
		}
		return answer("\x1b[%s%d;%dR", mark, y+1, at.X+1)
	}
	csi(0, 0, 'c', func(int) bool { return answer("\x1b[?62;22c") })
	csi('>', 0, 'c', func(int) bool { return answer("\x1b[>1;10;0c") })
	csi('>', 0, 'q', func(int) bool { return answer("\x1bP>|claude-bottle\x1b\\") })
	csi(0, 0, 'n', func(n int) bool {
		switch n {
		case 5:
			return answer("\x1b[0n")
		case 6:
			return where("")
		}
		return false
	})
	csi('?', 0, 'n', func(n int) bool {
		switch n {
		case 6:
			return where("?")
		case 996:
			return answer("\x1b[?997;1n")
		}
		return false
	})
	csi(0, 0, 't', func(n int) bool { return n == 18 && answer("\x1b[8;%d;%dt", s.rows, s.cols) })
	csi(0, '$', 'p', func(n int) bool { return answer("\x1b[%d;%d$y", n, s.modes.report(-n)) })
	csi('?', '$', 'p', func(n int) bool { return answer("\x1b[?%d;%d$y", n, s.modes.report(n)) })
	for number, colour := range map[int]string{10: "dddd/dddd/dddd", 11: "0000/0000/0000", 12: "dddd/dddd/dddd"} {
		g.emu.RegisterOscHandler(number, func([]byte) bool {
			return answer("\x1b]%d;rgb:%s\x1b\\", number, colour)
		})
	}
}

// report says of mode n: unknown (0), set (1), reset (2).
func (m modes) report(n int) int {
	on, known := m[n]
	switch {
	case !known:
		return 0
	case on:
		return 1
	}
	return 2
}
