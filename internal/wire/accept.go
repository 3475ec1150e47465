package wire

import (
	"context"
	"fmt"
)

// Handle makes f answer every stream of the given kind that the other side opens, also those
// already waiting. f runs in a goroutine of its own, owns the stream and must see to it that it
// is closed; it may hand the stream to somebody else and return. Streams of kinds without a
// handler go to Accept.
func (s *Session) Handle(kind string, f func(*Stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[kind] = f
	rest := s.backlog[:0]
	for _, st := range s.backlog {
		if st.kind == kind {
			s.handle(st, f)
		} else {
			rest = append(rest, st)
		}
	}
	clear(s.backlog[len(rest):])
	s.backlog = rest
}

// handle runs f under s.mu's protection against Wait: no handler starts once the session ended.
func (s *Session) handle(st *Stream, f func(*Stream)) {
	if s.err != nil {
		return
	}
	st.holds++
	s.handling.Go(func() {
		defer s.release(st)
		f(st)
	})
}

// Accept returns the next stream the other side opened whose kind has no handler. At most 64 wait;
// more are refused.
func (s *Session) Accept(ctx context.Context) (*Stream, error) {
	for {
		if st := s.waiting(); st != nil {
			return st, nil
		}
		select {
		case <-s.arrived:
		case <-s.done:
			return nil, fmt.Errorf("accept a stream: %w", s.Err())
		case <-ctx.Done():
			return nil, fmt.Errorf("accept a stream: %w", context.Cause(ctx))
		}
	}
}

func (s *Session) waiting() *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.backlog) == 0 {
		return nil
	}
	st := s.backlog[0]
	s.backlog = append(s.backlog[:0], s.backlog[1:]...)
	if len(s.backlog) > 0 {
		s.arrivedLocked()
	}
	return st
}

func (s *Session) arrivedLocked() {
	select {
	case s.arrived <- struct{}{}:
	default: // a token is there already
	}
}

// forget takes a stream out of the table: both directions have come to their end on the wire.
func (s *Session) forget(st *Stream) {
	s.mu.Lock()
	known := s.streams[st.id] == st
	if known {
		delete(s.streams, st.id)
		s.growth += st.window - firstWindow
	}
	s.mu.Unlock()
	if known {
		s.release(st)
	}
}

// release gives up one of a stream's two claims to its slot: being on the wire and being handled.
// A peer that opens and resets streams can't have more handlers running than it may open streams.
func (s *Session) release(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.holds--; st.holds > 0 {
		return
	}
	if st.id%2 == s.side.firstID()%2 {
		<-s.slots
	} else {
		s.accepted--
	}
}
