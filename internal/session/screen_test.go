package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/session/escape"
)

func BenchmarkScreen(b *testing.B) {
	for name, in := range map[string]string{
		"yes":  strings.Repeat("y\r\n", 1000),
		"log":  strings.Repeat("2026-01-01 the quick brown fox jumps over the lazy dog and more text\r\n", 100),
		"tui":  strings.Repeat("\x1b[3;4H\x1b[38;2;10;20;30mfox\x1b[0m jumps \x1b[10;1H──────────────────\x1b[K", 100),
		"wrap": strings.Repeat("x", 8000),
	} {
		b.Run(name, func(b *testing.B) {
			s := newScreen(40, 120)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				s.write([]byte(in))
			}
		})
	}
}

// TestSkimmingMakesNoDifference shows the same to two screens, one of which gets it in pieces too
// small to skim.
func TestSkimmingMakesNoDifference(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"short lines":   strings.Repeat("y\r\n", 500),
		"numbered":      numbered(400, "line %d\r\n"),
		"long lines":    numbered(100, "%d"+strings.Repeat("abcdefghij", 9)+"\r\n"),
		"exact lines":   numbered(100, "%03d"+strings.Repeat("x", 27)+"\r\n"),
		"colours":       numbered(100, "\x1b[3%[1]dm%[1]d red\r\nstill \x1b[0;1mbold\r\n"),
		"wide, tabs":    numbered(100, "%d\t漢字\tend\r\n"),
		"then a prompt": numbered(100, "%d\r\n") + "\x1b[32m$ \x1b[0mls",
		"moves between": numbered(50, "%d\r\n") + "\x1b[5;5Hhere\x1b[20;1H" + numbered(50, "%d\r\n"),
		"background":    "\x1b[44m" + numbered(50, "%d\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole, pieces := newScreen(10, 30), newScreen(10, 30)
			whole.write([]byte(in))
			for i := 0; i < len(in); {
				n := min(i+15, len(in))
				for n < len(in) && (in[n]&0xc0 == 0x80) {
					n++
				}
				pieces.feedUnskimmed([]byte(in[i:n]))
				i = n
			}
			if a, b := whole.main.emu.Render(), pieces.main.emu.Render(); a != b {
				t.Errorf("screens differ:\n%q\n%q", a, b)
			}
			if a, b := whole.main.emu.CursorPosition(), pieces.main.emu.CursorPosition(); a != b {
				t.Errorf("cursors differ: %v, %v", a, b)
			}
			if !whole.main.pen.Equal(&pieces.main.pen) {
				t.Errorf("pens differ: %+v, %+v", whole.main.pen, pieces.main.pen)
			}
			a, b := plainHistory(whole), plainHistory(pieces)
			if a != b {
				t.Errorf("histories of %d and %d bytes differ", len(a), len(b))
			}
		})
	}
}

func (s *screen) feedUnskimmed(p []byte) {
	s.try(p)
	s.keep()
}

func plainHistory(s *screen) string {
	var b strings.Builder
	e := newScreen(1, 200)
	for _, l := range s.history.lines {
		e.write([]byte("\x1b[H\x1b[2J" + l))
		b.WriteString(strings.TrimRight(e.row(e.main, 0).String(), " ") + "\n")
	}
	return b.String()
}

func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// FuzzScreen shows hostile output to a screen and, by its repaint, to another: neither may fail,
// hang or grow, and the second must look like the first.
func FuzzScreen(f *testing.F) {
	f.Add([]byte("hello\r\n\x1b[31mred\x1b[?1049hx\x1b[2;4r\x1b[?6h\x1b[9;9H\x1b7漢"), uint8(5), uint8(20))
	f.Add([]byte("\x1b[?1049h\x1b[5L\x1b[9M\x1b[3@\x1b[9P\x1b[512b\x1bM\x1b[T\x1b[?1049l"), uint8(3), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, rows, cols uint8) {
		r, c := bounded(uint16(rows), uint16(cols))
		s := newScreen(int(r), int(c))
		filter := escape.Filter{Rows: s.rows}
		s.write(filter.Append(nil, in))
		s.resize(s.rows+1, s.cols+3)
		s.resize(int(r), int(c))
		s.write(filter.Append(nil, in))
		paint := s.repaint(true, s.rows)
		copied := newScreen(int(r), int(c))
		again := escape.Filter{Rows: s.rows}
		filtered := again.Append(nil, paint)
		if len(again.Queries()) > 0 {
			t.Fatalf("a repaint asks: %q", paint)
		}
		copied.write(filtered)
		if s.inAlt() != copied.inAlt() {
			t.Fatalf("alternate screen %t, after repaint %t", s.inAlt(), copied.inAlt())
		}
	})
}

// Characters of a title hold the byte that is a string's end for 8-bit terminals.
func TestTitlesAreNotPrinted(t *testing.T) {
	t.Parallel()
	s := newScreen(3, 30)
	s.write([]byte("before \x1b]2;✳ lamp\x1b\\after\x1b]2;✓ done\x1b\\"))
	if got := strings.TrimSpace(s.main.emu.String()); got != "before after" || s.title != "✓ done" {
		t.Errorf("the screen shows %q, the title is %q", got, s.title)
	}
	if paint := string(s.repaint(false, 3)); !strings.Contains(paint, "\x1b]2;✓ done\x1b\\") {
		t.Errorf("the repaint has no title: %q", paint)
	}
}
