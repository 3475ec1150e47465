package wire

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Errors a Session ends with, besides those wrapping ErrProtocol.
var (
	// ErrClosed: Close was called on this side. To who serves what the wire carries it is net.ErrClosed.
	ErrClosed error = closedError{}
	// ErrGone: the other side closed the wire or died.
	ErrGone = errors.New("the other side of the wire is gone")
)

type closedError struct{}

func (closedError) Error() string { return "the wire was closed here" }

func (closedError) Is(target error) bool { return target == net.ErrClosed }

// lastWords is how long the reader may go on after writing has failed.
const lastWords = time.Second

// Session is one side of the wire. All methods are safe for concurrent use.
type Session struct {
	side Side
	rwc  io.ReadWriteCloser
	in   *bufio.Reader

	done     chan struct{} // closed when the session has ended
	end      sync.Once
	loops    sync.WaitGroup // the reader and the writer
	handling sync.WaitGroup // handlers
	slots    chan struct{}  // one token for each stream of ours that is open
	arrived  chan struct{}  // a token while backlog may be worth looking at

	mu       sync.Mutex
	err      error // why the session ended
	streams  map[uint32]*Stream
	nextID   uint32
	peerID   uint32 // highest number the other side has opened
	accepted int    // streams of the other side that hold a slot
	handlers map[string]func(*Stream)
	backlog  []*Stream
	growth   int // what is left of growthBudget

	// What is to be written. outMu is taken last: nothing else is locked while it is held.
	outMu  sync.Mutex
	wake   sync.Cond // there is something to write, or the session has ended
	room   sync.Cond // something was written, or a waiting sender must look again
	out    []byte
	broken bool
}

// NewSession starts the protocol over rwc, which belongs to the session from now on. Closing rwc
// must unblock its Read and Write. Nothing is waited for: a stranger on the other side shows as
// the session's end.
func NewSession(rwc io.ReadWriteCloser, side Side) *Session {
	s := &Session{
		side: side, rwc: rwc, in: bufio.NewReaderSize(rwc, 16<<10),
		done: make(chan struct{}), slots: make(chan struct{}, openLimit), arrived: make(chan struct{}, 1),
		streams: map[uint32]*Stream{}, nextID: side.firstID(),
		handlers: map[string]func(*Stream){}, growth: growthBudget,
		out: appendHello(nil, side),
	}
	s.wake.L, s.room.L = &s.outMu, &s.outMu
	s.loops.Go(func() { s.fail(s.receive()) })
	s.loops.Go(func() {
		err := s.send()
		// A side that closed the wire may have said something before: the reader gets the chance
		// to find it, and then its end.
		select {
		case <-s.done:
		case <-time.After(lastWords):
		}
		s.fail(err)
	})
	return s
}

// Side returns which end of the wire this is.
func (s *Session) Side() Side { return s.side }

// Done is closed when the session has ended; Err then says why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns nil while the session lives, then the reason of its end: ErrClosed, ErrGone, an
// error wrapping ErrProtocol, or one of the transport.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session and every stream on it. What was written but not yet sent is lost: who
// needs an answer waits for it first. Closing again is no error.
func (s *Session) Close() error {
	s.fail(ErrClosed)
	s.loops.Wait()
	return nil
}

// Wait returns when the session has ended and no handler runs any more. A handler must not call
// it.
func (s *Session) Wait() error {
	<-s.done
	s.loops.Wait()
	s.handling.Wait()
	return s.Err()
}

// Open opens a stream of the given kind (at most 32 bytes); header is sent as JSON and may be
// nil. It waits while this side has 512 streams open, and not for the other side's consent: a
// refusal shows as a ResetError on the stream.
func (s *Session) Open(ctx context.Context, kind string, header any) (*Stream, error) {
	if kind == "" || len(kind) > maxKind {
		return nil, fmt.Errorf("open a stream: kind %q is not 1 to %d bytes", kind, maxKind)
	}
	var head []byte
	if header != nil {
		var err error
		if head, err = json.Marshal(header); err != nil {
			return nil, fmt.Errorf("open a %s stream: header: %w", kind, err)
		}
	}
	if limit := s.side.maxHeader(); len(head) > limit {
		return nil, fmt.Errorf("open a %s stream: the header is %d bytes, at most %d fit", kind, len(head), limit)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open a %s stream: %w", kind, context.Cause(ctx))
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.done:
		return nil, fmt.Errorf("open a %s stream: %w", kind, s.Err())
	case <-ctx.Done():
		return nil, fmt.Errorf("open a %s stream: %w", kind, context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.nextID > 1<<32-3 {
		<-s.slots
		return nil, fmt.Errorf("open a %s stream: %w", kind, cmp.Or(s.err, errExhausted))
	}
	st := newStream(s, s.nextID, kind, nil)
	payload := make([]byte, 0, 1+len(kind)+len(head))
	payload = append(append(append(payload, byte(len(kind))), kind...), head...)
	// The number is taken and its frame queued under one lock, so numbers rise on the wire.
	if !s.control(muxOpen, st.id, payload) {
		<-s.slots
		return nil, fmt.Errorf("open a %s stream: the other side has stopped reading", kind)
	}
	s.nextID += 2
	s.streams[st.id] = st
	return st, nil
}

var errExhausted = errors.New("this wire has used up its stream numbers")

// fail ends the session; only the first reason counts.
func (s *Session) fail(err error) {
	s.end.Do(func() {
		s.mu.Lock()
		s.err = err
		streams := make([]*Stream, 0, len(s.streams))
		for _, st := range s.streams {
			streams = append(streams, st)
		}
		s.backlog = nil
		s.mu.Unlock()

		s.outMu.Lock()
		s.broken = true
		s.wake.Broadcast()
		s.room.Broadcast()
		s.outMu.Unlock()

		_ = s.rwc.Close() // the session's end has its reason already
		for _, st := range streams {
			st.sessionEnded(err)
		}
		close(s.done)
	})
}

// send writes what is queued, all of it with one call, until the session ends.
func (s *Session) send() error {
	var spare []byte
	for {
		s.outMu.Lock()
		for len(s.out) == 0 && !s.broken {
			s.wake.Wait()
		}
		if s.broken {
			s.outMu.Unlock()
			return ErrClosed // never seen: a broken session has its reason
		}
		buf := s.out
		s.out = spare[:0]
		s.room.Broadcast()
		s.outMu.Unlock()
		if _, err := s.rwc.Write(buf); err != nil {
			return transportErr("write to", err)
		}
		spare = buf
		if cap(spare) > 2*outRoom {
			spare = nil
		}
	}
}

// control queues a frame that must not wait. It reports whether there was room for it.
func (s *Session) control(t muxType, id uint32, payload []byte) bool {
	s.outMu.Lock()
	defer s.outMu.Unlock()
	return s.controlLocked(t, id, payload)
}

func (s *Session) controlLocked(t muxType, id uint32, payload []byte) bool {
	if len(s.out)+headSize+len(payload) > outLimit {
		return false
	}
	s.out = append(appendHead(s.out, t, id, len(payload)), payload...)
	s.wake.Signal()
	return true
}

func (s *Session) window(id uint32, n int) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	// A lost grant can only mean that the other side has stopped reading; nothing is owed to it.
	_ = s.control(muxWindow, id, b[:])
}
