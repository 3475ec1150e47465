package egress

import (
	"io"
	"sync"
)

// leastAhead is the shortest read that shows, when it is filled, that much is coming, in bytes.
const leastAhead = 4 << 10

// ahead reads a socket for TLS, which asks for one record after the other. After a read that took all
// it asked for, which means that there is more, the next takes as much as a wide buffer holds. A
// connection that carries little or nothing holds no buffer. Reads must not overlap.
type ahead struct {
	wide   *wideBuffers
	filled bool // by the last read of the socket: there is more

	mu   sync.Mutex // of what drop asks for
	buf  *[]byte    // lent, while rest is in it
	rest []byte     // read and not asked for yet
	over bool
}

// read reads what comes from r, which must be the same in every call. Before it asks r, which may have
// to wait, it calls wait, if that is not nil.
func (a *ahead) read(r io.Reader, p []byte, wait func()) (int, error) {
	if n := a.deliver(p); n > 0 {
		return n, nil
	}
	if wait != nil {
		wait()
	}
	if !a.filled || len(p) < leastAhead {
		n, err := r.Read(p)
		a.filled = n == len(p) && n >= leastAhead
		return n, err
	}
	buf := a.wide.get()
	if buf == nil {
		return r.Read(p)
	}
	n, err := r.Read(*buf)
	a.filled = n == len(*buf)
	if n == 0 {
		a.wide.put(buf)
		return 0, err
	}
	a.mu.Lock()
	if a.over {
		a.mu.Unlock()
		n = copy(p, (*buf)[:n]) // the rest is not wanted any more
		a.wide.put(buf)
		return n, err
	}
	a.buf, a.rest = buf, (*buf)[:n]
	a.mu.Unlock()
	return a.deliver(p), nil // an error that came along with bytes comes again
}

// deliver copies out what was read ahead.
func (a *ahead) deliver(p []byte) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := copy(p, a.rest)
	if a.rest = a.rest[n:]; len(a.rest) == 0 {
		a.release()
	}
	return n
}

// pending reports whether something was read and not asked for yet.
func (a *ahead) pending() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.rest) > 0
}

// drop forgets what was read ahead. It may be called at any time, when the connection has ended.
func (a *ahead) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.release()
}

func (a *ahead) release() {
	if a.buf != nil {
		a.wide.put(a.buf)
	}
	a.buf, a.rest = nil, nil
}
