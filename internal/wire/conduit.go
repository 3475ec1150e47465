package wire

import (
	"io"
	"sync"
)

// conduitRoom is how much of a command's output waits for its reader, in bytes.
const conduitRoom = 256 << 10

// conduit is a pipe with a buffer. Write waits for room; Read for data or the end.
type conduit struct {
	mu   sync.Mutex
	cond sync.Cond
	q    ring
	err  error // set at the end; what is held can still be read
}

func newConduit() *conduit {
	c := &conduit{}
	c.cond.L = &c.mu
	return c
}

// write puts all of p in, at most MaxFrame bytes; it reports false when the conduit has ended.
func (c *conduit) write(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.q.n+len(p) > conduitRoom {
		c.cond.Wait()
	}
	if c.err != nil {
		return false
	}
	a, b := c.q.tail(len(p))
	copy(b, p[copy(a, p):])
	c.q.commit(len(p))
	c.cond.Broadcast()
	return true
}

// end makes Read return err once all is read; the first end counts.
func (c *conduit) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.cond.Broadcast()
}

func (c *conduit) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.q.n == 0 && c.err == nil {
		c.cond.Wait()
	}
	if c.q.n == 0 {
		return 0, c.err
	}
	n := c.q.read(p)
	c.cond.Broadcast()
	return n, nil
}

var _ io.Reader = (*conduit)(nil)
