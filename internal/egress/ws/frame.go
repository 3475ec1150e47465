package ws

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"unicode/utf8"
)

const (
	bitFin  = 0x80
	bitRSV1 = 0x40
	bitMask = 0x80
	// maxControl is what a control frame may carry: RFC 6455 section 5.5.
	maxControl = 125
)

// header is a frame's.
type header struct {
	fin, deflated bool
	op            Opcode
	size          int64
	mask          [4]byte
}

// readHeader reads a frame's header: RFC 6455 section 5.2. Frames from a client are masked, those
// from a server are not; RSV1 is a compressed message's first frame's, where that was agreed on.
func readHeader(r *bufio.Reader, masked, deflate bool) (h header, err error) {
	b, err := r.Peek(2)
	if err != nil {
		if len(b) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return h, err
	}
	first, second := b[0], b[1]
	_, _ = r.Discard(2) // they are there
	h.fin, h.deflated, h.op = first&bitFin != 0, first&bitRSV1 != 0, Opcode(first&0x0f)
	switch {
	case first&0x30 != 0, h.deflated && (!deflate || h.op != Text && h.op != Binary):
		return h, protocol("a frame has reserved bits set that nothing was agreed about")
	case h.op > Binary && h.op < Close || h.op > Pong:
		return h, protocol("a frame has an unknown opcode")
	case masked != (second&bitMask != 0):
		return h, protocol("a client's frame is not masked, or a server's is")
	}
	switch h.size = int64(second &^ bitMask); {
	case h.op.control() && (h.size > maxControl || !h.fin):
		return h, protocol("a control frame is fragmented or too long")
	case h.size == 126:
		var n [2]byte
		if _, err = readFull(r, n[:]); err != nil {
			return h, err
		}
		if h.size = int64(binary.BigEndian.Uint16(n[:])); h.size < 126 {
			return h, protocol("a frame's length is not written in the shortest way")
		}
	case h.size == 127:
		var n [8]byte
		if _, err = readFull(r, n[:]); err != nil {
			return h, err
		}
		v := binary.BigEndian.Uint64(n[:])
		switch {
		case v <= 0xffff:
			return h, protocol("a frame's length is not written in the shortest way")
		case v > MaxMessage:
			return h, &Fault{Code: codeTooBig, Why: "a frame is too long"}
		}
		h.size = int64(v)
	}
	if masked {
		_, err = readFull(r, h.mask[:])
	}
	return h, err
}

// readFull is io.ReadFull inside a frame, where no end is a good one.
func readFull(r io.Reader, p []byte) (int, error) {
	n, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// xor masks or unmasks p, which begins at offset at of its frame.
func xor(p []byte, mask [4]byte, at int64) {
	var key [8]byte
	for i := range key {
		key[i] = mask[(int64(i)+at)&3]
	}
	word := binary.LittleEndian.Uint64(key[:])
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^word)
	}
	for i := range p {
		p[i] ^= key[i]
	}
}

// checkClose checks a close frame's payload: RFC 6455 section 7.4.
func checkClose(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if len(p) == 1 || !utf8.Valid(p[2:]) {
		return protocol("a close frame's payload is not a code and a text")
	}
	switch c := binary.BigEndian.Uint16(p); {
	case c >= 1000 && c <= 1014 && c != 1004 && c != 1005 && c != 1006, c >= 3000 && c <= 4999:
		return nil
	}
	return protocol("a close frame has a code that may not be sent")
}

// writer writes frames to one side. Both directions do: one its messages, the other, on a fault,
// the close frame.
type writer struct {
	mu     sync.Mutex
	w      io.Writer
	mask   bool
	closed bool
	buf    []byte
}

// frame writes one frame. After a close frame it writes nothing.
func (w *writer) frame(fin, deflated bool, op Opcode, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return io.ErrClosedPipe
	}
	w.closed = op == Close
	first := byte(op)
	if fin {
		first |= bitFin
	}
	if deflated {
		first |= bitRSV1
	}
	var second byte
	if w.mask {
		second = bitMask
	}
	b := append(w.buf[:0], first)
	switch n := len(payload); {
	case n < 126:
		b = append(b, second|byte(n))
	case n <= 0xffff:
		b = append(b, second|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, second|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if w.mask {
		var key [4]byte
		_, _ = rand.Read(key[:]) // it never fails
		b = append(b, key[:]...)
		at := len(b)
		b = append(b, payload...)
		xor(b[at:], key, 0)
	} else {
		b = append(b, payload...)
	}
	if w.buf = b; cap(b) > keep {
		w.buf = nil // long messages are rare, and WebSockets live long
	}
	_, err := w.w.Write(b)
	return err
}

// close writes a close frame, with as much of why as fits.
func (w *writer) close(code int, why string) error {
	for len(why) > maxControl-2 {
		_, size := utf8.DecodeLastRuneInString(why[:maxControl-1])
		why = why[:maxControl-1-size]
	}
	return w.frame(true, false, Close, append(binary.BigEndian.AppendUint16(nil, uint16(code)), why...))
}
