package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
)

// Read implements net.Conn. What arrived before the session ended can still be read; a reset
// drops it.
func (st *Stream) Read(p []byte) (int, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.awaitData(); err != nil {
		return 0, err
	}
	n := st.in.read(p)
	st.took(n)
	return n, nil
}

// awaitData returns nil when there is something to read. st.mu is held.
func (st *Stream) awaitData() error {
	for {
		switch {
		case st.closed:
			return net.ErrClosed
		case st.readEnd.passed.Load():
			return os.ErrDeadlineExceeded
		case st.in.n > 0:
			return nil
		case st.eof:
			return io.EOF
		case st.fail != nil:
			return st.fail
		}
		st.readable.Wait()
	}
}

// took accounts for n bytes read and grants the other side new ones, half a window at a time. A
// stream that is read to the end of its first window is worth a full one.
func (st *Stream) took(n int) {
	st.consumed += n
	if st.eof || st.fail != nil || st.closed || 2*st.consumed < st.window {
		return
	}
	grant := st.consumed
	st.consumed = 0
	if st.window < fullWindow && st.s.grow(st) {
		grant += fullWindow - firstWindow
	}
	st.allowed += grant
	st.s.window(st.id, grant)
}

// grow gives st a full window if the budget has room and st is still on the wire.
func (s *Session) grow(st *Stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	const more = fullWindow - firstWindow
	if s.growth < more || s.streams[st.id] != st {
		return false
	}
	s.growth -= more
	st.window = fullWindow
	return true
}

// admit accounts for n bytes that the other side sends. st.mu is held.
func (st *Stream) admit(n int) error {
	if st.eof {
		return violation("data on stream %d after its end", st.id)
	}
	if n > st.allowed {
		return violation("%d bytes on stream %d, whose window has %d left", n, st.id, st.allowed)
	}
	st.allowed -= n
	return nil
}

// receive takes n bytes of data from the wire. It is called by the session's reader alone.
func (st *Stream) receive(n int) error {
	st.mu.Lock()
	if err := st.admit(n); err != nil {
		st.mu.Unlock()
		return err
	}
	if st.closed || st.fail != nil {
		st.mu.Unlock()
		return st.s.skip(n)
	}
	a, b := st.in.tail(n)
	st.in.pinned++
	st.mu.Unlock()

	// The transport is read without the lock; the reserved space is nobody else's.
	_, err := io.ReadFull(st.s.in, a)
	if err == nil {
		_, err = io.ReadFull(st.s.in, b)
	}

	st.mu.Lock()
	defer st.mu.Unlock()
	st.in.pinned--
	if err != nil {
		return readErr(err)
	}
	if st.closed || st.fail != nil {
		st.in.drop()
		return nil
	}
	st.in.commit(n)
	st.readable.Broadcast()
	return nil
}

// Write implements net.Conn. It waits for the other side's credit and for room in the session's
// queue.
func (st *Stream) Write(p []byte) (int, error) {
	st.writing.Lock()
	defer st.writing.Unlock()
	total := 0
	for len(p) > 0 {
		n, err := st.reserve(min(len(p), maxData))
		if err != nil {
			return total, err
		}
		if !st.queue(p[:n]) {
			st.mu.Lock()
			st.credit += n
			err := st.sendErr()
			st.mu.Unlock()
			return total, err
		}
		total += n
		p = p[n:]
	}
	return total, nil
}

// reserve waits for credit and takes up to n of it.
func (st *Stream) reserve(n int) (int, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for {
		if err := st.sendErr(); err != nil {
			return 0, err
		}
		if st.credit > 0 {
			n = min(n, st.credit)
			st.credit -= n
			return n, nil
		}
		st.writable.Wait()
	}
}

// sendErr says why nothing can be sent now. st.mu is held.
func (st *Stream) sendErr() error {
	switch {
	case st.closed:
		return net.ErrClosed
	case st.writeEnd.passed.Load():
		return os.ErrDeadlineExceeded
	case st.fail != nil:
		return st.fail
	case st.sent == sentOver:
		return io.ErrClosedPipe // the other side reads no more
	case st.sent == sentEOF:
		return net.ErrClosed
	}
	return nil
}

// queue puts one data frame behind what waits to be written, once there is room. It reports false
// when the stream's or the session's sending ended, or the deadline passed, before that.
func (st *Stream) queue(p []byte) bool {
	s := st.s
	s.outMu.Lock()
	defer s.outMu.Unlock()
	for {
		if s.broken || st.sent != sending || st.writeEnd.passed.Load() {
			return false
		}
		if len(s.out) < outRoom {
			s.out = append(appendHead(s.out, muxData, st.id, len(p)), p...)
			s.wake.Signal()
			return true
		}
		s.room.Wait()
	}
}

func (st *Stream) granted(n uint32) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n == 0 || n > fullWindow || st.credit+int(n) > fullWindow {
		return violation("%d more bytes granted on stream %d, which has %d", n, st.id, st.credit)
	}
	st.credit += int(n)
	st.writable.Broadcast()
	return nil
}

func (st *Stream) peerEOF() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.eof {
		return violation("stream %d ended twice", st.id)
	}
	st.eof = true
	st.settle()
	return nil
}

func (st *Stream) peerClosed() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.eof = true
	st.over()
}

func (st *Stream) peerReset(reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.lost(&ResetError{Kind: st.kind, Reason: reason})
	st.in.drop()
}

func (st *Stream) sessionEnded(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.lost(err)
}

func (st *Stream) lost(err error) {
	if st.fail == nil {
		st.fail = err
	}
	st.over()
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, maxData); return &b }}

// ReadFrom copies r to the stream until r ends, a frame at a time.
func (st *Stream) ReadFrom(r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	total := int64(0)
	for {
		n, err := r.Read(*buf)
		if n > 0 {
			m, werr := st.Write((*buf)[:n])
			total += int64(m)
			if werr != nil {
				return total, werr
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// WriteTo copies the stream to w until the stream's end, without a buffer in between.
func (st *Stream) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for {
		st.mu.Lock()
		if err := st.awaitData(); err != nil {
			st.mu.Unlock()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return total, err
		}
		part, _ := st.in.segments()
		part = part[:min(len(part), maxData)]
		st.in.pinned++
		st.mu.Unlock()

		n, err := w.Write(part)
		total += int64(n)

		st.mu.Lock()
		st.in.pinned--
		if st.closed || st.fail != nil && st.in.n == 0 {
			st.in.drop() // it was emptied meanwhile; what was lent is ours to free
		} else {
			st.in.discard(min(n, st.in.n)) // a Read beside us, though senseless, must do no harm
			st.took(n)
		}
		st.mu.Unlock()
		if err != nil {
			return total, err
		}
	}
}
