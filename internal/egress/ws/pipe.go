package ws

import (
	"bufio"
	"errors"
	"io"
)

const (
	// keep is how large a buffer may be to be kept for the next message.
	keep = 8 << 10
	// piece is how much is read from a frame at once.
	piece = 4 << 10
	// maxHeld bounds what is held of a message: a window of content that does not compress, and what
	// an inflater took to make the one after it.
	maxHeld = 3 * Window
)

// pipe carries one direction.
type pipe struct {
	dir     Direction
	r       *bufio.Reader
	to      *writer
	relay   Relay
	inflate *inflater // nil without compression in this direction

	// Of the message being carried.
	op       Opcode
	deflated bool
	frame    header
	left     int64  // of the frame's payload
	begun    bool   // a frame of it was written
	held     []byte // its compressed payload as it came, not yet written
	sure     int    // bytes of held whose content is in the part at hand, or was shown
	shown    int64  // bytes of content that were shown

	closed bool // its side sent a close frame
}

func newPipe(dir Direction, from io.Reader, to *writer, relay Relay) *pipe {
	p := &pipe{dir: dir, r: bufio.NewReaderSize(from, piece), to: to, relay: relay}
	if relay.Deflate != nil {
		p.inflate = newInflater(relay.Deflate.takesOver(dir))
	}
	return p
}

// run carries messages up to a close frame, whose passing on is its good end.
func (p *pipe) run() error {
	for {
		h, err := readHeader(p.r, p.dir == Out, p.relay.Deflate != nil)
		if err != nil {
			return err
		}
		if h.op.control() {
			if err := p.control(h); err != nil {
				return err
			}
			if h.op == Close {
				p.closed = true
				return nil
			}
			continue
		}
		if h.op == continuation {
			return protocol("a frame continues a message that did not begin")
		}
		p.op, p.deflated, p.frame, p.left, p.begun, p.sure, p.shown = h.op, h.deflated, h, h.size, false, 0, 0
		if err := p.message(); err != nil {
			return err
		}
	}
}

// control passes a control frame on.
func (p *pipe) control(h header) error {
	var b [maxControl]byte
	payload := b[:h.size]
	if _, err := readFull(p.r, payload); err != nil {
		return err
	}
	xor(payload, h.mask, 0)
	if h.op == Close {
		if err := checkClose(payload); err != nil {
			return err
		}
	}
	if err := p.inspect(h.op, payload, true); err != nil {
		return err
	}
	return p.to.frame(true, false, h.op, payload)
}

// message carries one message: it shows its content, part by part, and writes what was shown.
func (p *pipe) message() error {
	var src io.Reader = (*payload)(p)
	if p.deflated {
		src = p.inflate.begin((*payload)(p))
	}
	part := make([]byte, 0, piece)
	for {
		if len(part) == cap(part) {
			if len(part) == Window {
				if err := p.pass(part, false); err != nil {
					return err
				}
				part = part[:0]
			} else {
				part = append(make([]byte, 0, min(4*cap(part), Window)), part...)
			}
		}
		before := len(p.held)
		n, err := src.Read(part[len(part):cap(part)])
		part = part[:len(part)+n]
		if len(p.held) > before {
			// An inflater takes more only when it has given everything it made of what it had.
			p.sure = before
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if p.deflated {
		if err := p.inflate.end((*payload)(p)); err != nil {
			return err
		}
	}
	p.sure = len(p.held)
	return p.pass(part, true)
}

// pass shows a part and writes what of the message is sure to be shown.
func (p *pipe) pass(part []byte, last bool) error {
	if p.shown += int64(len(part)); p.shown > MaxMessage {
		return &Fault{Code: codeTooBig, Why: "a message is too long"}
	}
	if err := p.inspect(p.op, part, last); err != nil {
		return err
	}
	goes := part
	if p.deflated {
		goes = p.held[:p.sure]
	}
	if len(goes) == 0 && !last {
		return nil
	}
	op := p.op
	if p.begun {
		op = continuation
	}
	err := p.to.frame(last, p.deflated && !p.begun, op, goes)
	p.begun = true
	p.held = append(p.held[:0], p.held[p.sure:]...)
	p.sure = 0
	if len(p.held) == 0 && cap(p.held) > keep {
		p.held = nil
	}
	return err
}

func (p *pipe) inspect(op Opcode, part []byte, last bool) error {
	if p.relay.Inspect == nil {
		return nil
	}
	if err := p.relay.Inspect(p.dir, op, part, last); err != nil {
		return &Fault{Code: codePolicy, Why: err.Error(), Err: err}
	}
	return nil
}

// payload reads the current message's payload through all its frames, unmasked.
type payload pipe

// Read ends with io.EOF after the message's last frame.
func (s *payload) Read(b []byte) (int, error) {
	p := (*pipe)(s)
	if err := p.next(); err != nil {
		return 0, err
	}
	n, err := p.r.Read(b[:min(int64(len(b)), p.left)])
	if n == 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if fault := p.take(b[:n]); fault != nil {
		return n, fault
	}
	return n, err
}

// ReadByte keeps an inflater from reading ahead of what it shows.
func (s *payload) ReadByte() (byte, error) {
	p := (*pipe)(s)
	if err := p.next(); err != nil {
		return 0, err
	}
	c, err := p.r.ReadByte()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	b := [1]byte{c}
	err = p.take(b[:])
	return b[0], err
}

// take unmasks bytes that were read, and holds those of a compressed message. No compression makes
// content much longer than it was: what grows so is made of blocks of nothing.
func (p *pipe) take(b []byte) error {
	if p.dir == Out {
		xor(b, p.frame.mask, p.frame.size-p.left)
	}
	p.left -= int64(len(b))
	if !p.deflated {
		return nil
	}
	if p.held = append(p.held, b...); len(p.held) > maxHeld {
		return &Fault{Code: codeData, Why: "a compressed message is longer than its content"}
	}
	return nil
}

// next makes sure that bytes are left in the current frame, going on to the next one when there are
// none, past control frames. It returns io.EOF after the last.
func (p *pipe) next() error {
	for p.left == 0 {
		if p.frame.fin {
			return io.EOF
		}
		h, err := readHeader(p.r, p.dir == Out, false)
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF // in the middle of a message
		}
		if err != nil {
			return err
		}
		switch {
		case h.op.control():
			if err := p.control(h); err != nil {
				return err
			}
			if h.op == Close {
				p.closed = true
				return io.ErrUnexpectedEOF // RFC 6455 lets it end so; the message is lost
			}
		case h.op != continuation:
			return protocol("a message begins before the one before it ended")
		default:
			p.frame, p.left = h, h.size
		}
	}
	return nil
}
