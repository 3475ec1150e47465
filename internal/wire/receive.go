package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
)

// receive reads frames until the wire ends or the other side breaks the protocol. It never waits
// for anything but the transport, so a stream nobody reads can't hold back the others.
func (s *Session) receive() error {
	head := make([]byte, headSize)
	for greeted := false; ; greeted = true {
		if _, err := io.ReadFull(s.in, head); err != nil {
			return readErr(err)
		}
		h := parseHead(head)
		if !greeted && h.typ != muxHello {
			return violation("the other side does not speak this protocol")
		}
		if err := h.check(s.side.other()); err != nil {
			return err
		}
		if greeted && h.typ == muxHello {
			return violation("a second hello")
		}
		if err := s.frame(h); err != nil {
			return err
		}
	}
}

func readErr(err error) error { return transportErr("read from", err) }

// transportErr calls every way a peer's end shows in a transport by one name.
func transportErr(verb string, err error) error {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, end) {
			return ErrGone
		}
	}
	return fmt.Errorf("%s the wire: %w", verb, err)
}

func (s *Session) frame(h muxHead) error {
	if h.typ == muxData {
		return s.data(h)
	}
	payload := make([]byte, h.n)
	if _, err := io.ReadFull(s.in, payload); err != nil {
		return readErr(err)
	}
	switch h.typ {
	case muxHello:
		return checkHello(payload, s.side.other())
	case muxOpen:
		return s.opened(h.id, payload)
	}
	st, err := s.lookup(h.id)
	if st == nil {
		return err
	}
	switch h.typ {
	case muxWindow:
		return st.granted(binary.BigEndian.Uint32(payload))
	case muxEOF:
		return st.peerEOF()
	case muxClose:
		st.peerClosed()
	case muxReset:
		st.peerReset(string(payload))
	}
	return nil
}

func (s *Session) data(h muxHead) error {
	st, err := s.lookup(h.id)
	if err != nil {
		return err
	}
	if st == nil {
		return s.skip(h.n)
	}
	return st.receive(h.n)
}

func (s *Session) skip(n int) error {
	if _, err := s.in.Discard(n); err != nil {
		return readErr(err)
	}
	return nil
}

// lookup finds a stream. A stream that has ended here is nil without an error: the other side may
// not know yet. One that never was is a violation.
func (s *Session) lookup(id uint32) (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[id]; st != nil {
		return st, nil
	}
	if ours := id%2 == s.side.firstID()%2; ours && id >= s.nextID || !ours && id > s.peerID {
		return nil, violation("a frame for stream %d, which was never opened", id)
	}
	return nil, nil
}

// opened admits a stream of the other side: to its handler, or to those who Accept.
func (s *Session) opened(id uint32, payload []byte) error {
	k := int(payload[0])
	if k == 0 || k > maxKind || k > len(payload)-1 {
		return violation("stream %d has a kind of %d bytes", id, k)
	}
	kind, header := string(payload[1:1+k]), payload[1+k:]
	if limit := s.side.other().maxHeader(); len(header) > limit {
		return violation("stream %d has a header of %d bytes, at most %d are allowed", id, len(header), limit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if id%2 == s.side.firstID()%2 || id <= s.peerID {
		return violation("stream %d was opened out of order", id)
	}
	s.peerID = id
	handler := s.handlers[kind]
	refusal := ""
	switch {
	case s.err != nil:
		return s.err
	case s.accepted >= acceptLimit:
		refusal = "too many streams are open"
	case handler == nil && len(s.backlog) >= backlogLimit:
		refusal = "nobody here answers streams of this kind"
	}
	if refusal != "" {
		if !s.control(muxReset, id, []byte(refusal)) {
			return violation("streams are opened without end while nothing is read")
		}
		return nil
	}
	st := newStream(s, id, kind, header)
	s.streams[id] = st
	s.accepted++
	if handler != nil {
		s.handle(st, handler)
		return nil
	}
	s.backlog = append(s.backlog, st)
	s.arrivedLocked()
	return nil
}
