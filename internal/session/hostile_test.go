package session

import (
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/session/escape"
)

// BenchmarkHostile shows what the dearest sequences cost: an agent that sends nothing else must not
// keep its session from working.
func BenchmarkHostile(b *testing.B) {
	for _, seq := range []string{"x\x1b[512b", "\x1b[9999L", "\x1b[9999@", "x\x1b[2J", "\x1b[9999I", "\x1b[9999S", "\x1b[9999Z", "\x1b[S", "\n", "\x1bc", "\x1b[?1049hx\x1b[?1049l", "\x1bM\x1b[H"} {
		b.Run(strings.ReplaceAll(seq, "\x1b", "ESC"), func(b *testing.B) {
			s := newScreen(40, 120)
			var f escape.Filter
			in := f.Append(nil, []byte(strings.Repeat(seq, readSize/len(seq))))
			s.write([]byte("x"))
			b.ResetTimer()
			for b.Loop() {
				s.write(in)
			}
		})
	}
}
