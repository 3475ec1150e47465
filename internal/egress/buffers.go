package egress

import (
	"sync"
	"sync/atomic"
)

// buffers lends copy buffers: enough for a few TLS records, returned when the copying ends.
type buffers struct {
	pool sync.Pool
	wide wideBuffers
}

func (b *buffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, 32<<10)
	return &p
}

func (b *buffers) put(p *[]byte) { b.pool.Put(p) }

const (
	// wideBuffer holds eight full TLS records: RFC 8446 section 5.2 allows 2^14 bytes, what the
	// cipher adds to them, and five of header.
	wideBuffer = 8 * (16<<10 + 64)
	// maxWide bounds the wide buffers lent at once. Who gets none works as before, with more calls.
	maxWide = 64
)

// wideBuffers lends buffers to connections that carry much at the moment.
type wideBuffers struct {
	pool sync.Pool
	lent atomic.Int32
}

// get returns a buffer, or nil when as many are lent as may be.
func (w *wideBuffers) get() *[]byte {
	if w.lent.Add(1) > maxWide {
		w.lent.Add(-1)
		return nil
	}
	if p, ok := w.pool.Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, wideBuffer)
	return &p
}

func (w *wideBuffers) put(p *[]byte) {
	w.pool.Put(p)
	w.lent.Add(-1)
}
