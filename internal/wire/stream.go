package wire

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// Stream is one of many on a Session: a net.Conn that can be half-closed and reset. A deadline
// bounds waiting of any cause; a write counts as done when its bytes are queued for the wire.
type Stream struct {
	s      *Session
	id     uint32
	kind   string
	header []byte
	holds  int // claims to the slot; guarded by s.mu

	writing sync.Mutex // one Write at a time, so that its bytes stay together

	mu       sync.Mutex
	readable sync.Cond
	writable sync.Cond
	readEnd  deadline
	writeEnd deadline
	in       ring
	window   int  // what the other side may have outstanding; grows once. Also read under s.mu
	allowed  int  // what it may send now
	consumed int  // read, but not granted again yet
	eof      bool // the other side has sent all
	closed   bool // Close was called here
	fail     error
	credit   int // what we may send now
	sent     sentState
}

// sentState is how far this side has come. It changes with both the stream's lock and the
// session's outMu held, together with the frame that says so, and may be read under either.
type sentState uint8

const (
	sending  sentState = iota
	sentEOF            // nothing more is sent
	sentOver           // nothing of this stream may be put on the wire any more
)

var _ net.Conn = (*Stream)(nil)

// ResetError says that a stream was given up, by which side and why. Reason may come from the
// other side: it is data, made inert in Error.
type ResetError struct {
	Kind   string
	Here   bool // this side called Reset
	Reason string
}

// Error implements error.
func (e *ResetError) Error() string {
	if e.Here {
		return fmt.Sprintf("%s stream given up: %s", e.Kind, e.Reason)
	}
	return fmt.Sprintf("%s refused by the other side: %s", e.Kind, inert(e.Reason))
}

func inert(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func newStream(s *Session, id uint32, kind string, header []byte) *Stream {
	st := &Stream{
		s: s, id: id, kind: kind, header: header, holds: 1,
		window: firstWindow, allowed: firstWindow, credit: firstWindow,
	}
	st.readable.L, st.writable.L = &st.mu, &st.mu
	return st
}

// Kind returns what the stream was opened as.
func (st *Stream) Kind() string { return st.kind }

// Header decodes the JSON the opener sent along into v. It is for the accepting side.
func (st *Stream) Header(v any) error {
	if len(st.header) == 0 {
		return fmt.Errorf("%s stream came without a header", st.kind)
	}
	if err := json.Unmarshal(st.header, v); err != nil {
		return fmt.Errorf("%s stream's header: %w", st.kind, err)
	}
	return nil
}

// CloseWrite tells the other side that everything was sent; reading goes on.
func (st *Stream) CloseWrite() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.fail != nil {
		return st.fail
	}
	st.finish(muxEOF, nil)
	return nil
}

// Close ends the stream: what was written before still arrives, what was not read is dropped, and
// the other side's writes fail from now on. Closing again is no error.
func (st *Stream) Close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil
	}
	st.closed = true
	if st.eof {
		st.finish(muxEOF, nil)
	} else {
		st.finish(muxClose, nil)
	}
	st.in.drop()
	st.disarm()
	return nil
}

// Reset gives the stream up in both directions. reason, cut to 512 bytes, is told to the other
// side as a ResetError.
func (st *Stream) Reset(reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.fail != nil || st.closed {
		return
	}
	st.fail = &ResetError{Kind: st.kind, Here: true, Reason: reason}
	st.finish(muxReset, []byte(reason[:min(len(reason), maxReason)]))
	st.in.drop()
	st.disarm()
}

// finish queues a frame that ends our sending, unless one at least as final was queued before, and
// wakes whoever waits on the stream. st.mu is held.
func (st *Stream) finish(t muxType, payload []byte) {
	next := sentOver
	if t == muxEOF {
		next = sentEOF
	}
	st.s.outMu.Lock()
	if st.sent < next {
		st.sent = next
		// Without room the peer has stopped reading and its session is about to end.
		_ = st.s.controlLocked(t, st.id, payload)
	}
	st.s.room.Broadcast()
	st.s.outMu.Unlock()
	st.settle()
}

// over notes, without telling the other side, that nothing more may be sent. st.mu is held.
func (st *Stream) over() {
	st.s.outMu.Lock()
	st.sent = sentOver
	st.s.room.Broadcast()
	st.s.outMu.Unlock()
	st.settle()
}

// settle wakes all waiters and, when both directions are at their end, leaves the table.
func (st *Stream) settle() {
	st.readable.Broadcast()
	st.writable.Broadcast()
	if st.sent == sentOver || st.sent == sentEOF && st.eof {
		st.s.forget(st)
	}
}

func (st *Stream) disarm() {
	st.readEnd.set(time.Time{}, &st.mu, nil)
	st.writeEnd.set(time.Time{}, &st.mu, nil)
}

// SetDeadline implements net.Conn.
func (st *Stream) SetDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.setRead(t)
	st.setWrite(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.setRead(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.setWrite(t)
	return nil
}

func (st *Stream) setRead(t time.Time) {
	st.readEnd.set(t, &st.mu, st.readable.Broadcast)
	st.readable.Broadcast()
}

func (st *Stream) setWrite(t time.Time) {
	wake := func() {
		st.writable.Broadcast()
		st.s.outMu.Lock()
		st.s.room.Broadcast()
		st.s.outMu.Unlock()
	}
	st.writeEnd.set(t, &st.mu, wake)
	wake()
}

// streamAddr is the address of a stream: its session's side, its kind and number.
type streamAddr struct {
	side Side
	kind string
	id   uint32
}

func (streamAddr) Network() string { return "wire" }

func (a streamAddr) String() string {
	return a.side.String() + "/" + inert(a.kind) + "/" + strconv.FormatUint(uint64(a.id), 10)
}

// LocalAddr names this side's end of the stream.
func (st *Stream) LocalAddr() net.Addr { return streamAddr{st.s.side, st.kind, st.id} }

// RemoteAddr names the other side's end of the stream.
func (st *Stream) RemoteAddr() net.Addr { return streamAddr{st.s.side.other(), st.kind, st.id} }
