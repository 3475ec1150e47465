package egress

import (
	"io"
	"sync"
)

// gather writes to a socket for TLS, which writes one record after the other. While it is told that
// more is coming, it gathers them in a wide buffer and writes them at once.
type gather struct {
	wide *wideBuffers

	mu   sync.Mutex // TLS writes of its own accord too
	hold bool
	buf  *[]byte // lent, while n bytes of it wait
	n    int
	err  error // of a write nobody was there to be told of
}

// write writes p to w, which must be the same in every call, or keeps it for later. It fails with what
// an earlier write failed with.
func (g *gather) write(w io.Writer, p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n+len(p) > wideBuffer {
		_ = g.flush(w) // err has it
	}
	if g.err != nil {
		return 0, g.err
	}
	if g.buf == nil && g.hold {
		g.buf = g.wide.get()
	}
	if g.buf == nil || len(p) > wideBuffer {
		return w.Write(p)
	}
	g.n += copy((*g.buf)[g.n:], p)
	if !g.hold {
		return len(p), g.flush(w)
	}
	return len(p), nil
}

// more says whether what is written next may wait for what comes after it.
func (g *gather) more(hold bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = hold
}

// send writes what waits, and ends the holding.
func (g *gather) send(w io.Writer) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = false
	return g.flush(w)
}

func (g *gather) flush(w io.Writer) error {
	if g.buf == nil {
		return g.err
	}
	_, err := w.Write((*g.buf)[:g.n])
	g.wide.put(g.buf)
	g.buf, g.n = nil, 0
	if g.err == nil {
		g.err = err
	}
	return g.err
}
