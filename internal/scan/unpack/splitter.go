package unpack

import (
	"bytes"
	"io"
	"strings"
)

// A Yield is told the texts of a structured body, without the separators between them and with
// their escapes undone. A name comes once with a nil value, before its values; a value, which may be
// empty but is not nil, comes with the nearest name before it, cut to 256 bytes. A text longer than
// 64 KiB may come in pieces, a part of a multipart body in pieces of 32. Both slices are Yield's until it returns. A false ends it all.
type Yield func(name, value []byte) bool

// Media says how a body is written, as its sender tells it.
type Media struct {
	ContentType   string
	MessageCoding string // a gRPC stream's grpc-encoding field
}

// Fields takes a whole body apart: a JSON text, a urlencoded form, a multipart body or a stream of
// gRPC messages. Which of them it is, the body's first bytes decide before contentType does. A body
// that is none of them is one value without a name.
func Fields(contentType string, body []byte, yield Yield) {
	s := NewSplitter(Media{ContentType: contentType}, Limits{}, yield)
	// Of compressed messages there is no coding here, so they end it.
	_ = s.finish(body)
}

// pieceSize is the longest text that is kept whole.
const pieceSize = 64 << 10

// nameSize is how much of a name its values come with.
const nameSize = 256

// A splitter cuts a format.
type splitter interface {
	// split yields the texts that are whole in buf, or, at the end, all. It returns how many bytes it
	// is done with, and how many of buf it need not look at again: with more bytes behind the rest of
	// buf, it is called with that many as seen. A rest that has pieceSize bytes or more must get
	// shorter.
	split(buf []byte, seen int, end bool) (done, looked int, err error)
	// abort lets go of what is open.
	abort()
}

// A Splitter is Fields for a body that is written to it. Yield is called from within Write and
// Close. It keeps at most 64 KiB and what one Write adds. It must be ended by Close or by Abort
// and is not safe for concurrent use.
type Splitter struct {
	media  Media
	meter  *meter
	out    emitter
	format splitter // nil until the first bytes decide
	rest   []byte   // written, not done with
	seen   int      // of rest
	err    error
	ended  bool
}

// NewSplitter returns one. Limits count for compressed messages.
func NewSplitter(m Media, l Limits, yield Yield) *Splitter {
	return &Splitter{media: m, meter: newMeter(l), out: emitter{yield: yield}}
}

// sniffSize is how many bytes decide on a body's format.
const sniffSize = 512

// Write takes p apart. An error, *UnknownError or *BombError or a decoder's, means that a compressed
// message could not be looked into. Every later call returns it.
func (s *Splitter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && s.err == nil && !s.out.stopped; {
		chunk := rest
		// What is written at once is looked at in place, unless something waits for its rest.
		if len(s.rest) > 0 {
			chunk = rest[:min(len(rest), pieceSize)]
		}
		s.split(chunk, false)
		rest = rest[len(chunk):]
	}
	if s.err != nil {
		return 0, s.err
	}
	return len(p), nil
}

func (s *Splitter) split(p []byte, end bool) {
	buf := p
	if len(s.rest) > 0 {
		s.rest = append(s.rest, p...)
		buf = s.rest
	}
	if s.format == nil {
		if len(buf) < sniffSize && !end {
			s.keep(buf)
			return
		}
		s.choose(buf)
	}
	for {
		done, looked, err := s.format.split(buf, s.seen, end)
		s.err = err
		buf, s.seen = buf[done:], looked-done
		if done == 0 || err != nil || len(buf) < pieceSize || s.out.stopped {
			break
		}
	}
	s.keep(buf)
}

// keep makes buf, which may be the end of rest, the rest.
func (s *Splitter) keep(buf []byte) {
	if len(buf) == 0 || s.err != nil || s.out.stopped {
		s.rest, s.seen = s.rest[:0], 0
		return
	}
	if len(s.rest) != len(buf) || &s.rest[0] != &buf[0] {
		s.rest = append(s.rest[:0], buf...)
	}
}

// choose decides on the format. JSON is sent as anything, by curl as a form; a multipart body may
// start with anything, so its type comes first.
func (s *Splitter) choose(start []byte) {
	kind, _, _ := strings.Cut(s.media.ContentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	start = start[:min(len(start), sniffSize)]
	b := boundary(s.media.ContentType)
	if b == nil {
		b = sniffBoundary(start)
	}
	switch {
	case b != nil:
		s.format = newFormSplitter(b, &s.out)
	case strings.HasPrefix(kind, "application/grpc"):
		s.format = newFrames(s.media.MessageCoding, s.meter, &s.out)
	case looksJSON(start):
		s.format = &jsonSplitter{out: &s.out}
	case kind == "application/x-www-form-urlencoded" || looksForm(start):
		s.format = &pairs{out: &s.out, separator: '&'}
	default:
		s.format = &plain{out: &s.out}
	}
}

// Plain reports whether the body has turned out to have no structure, so that its texts are its bytes
// as they stand. Yield may ask.
func (s *Splitter) Plain() bool {
	_, is := s.format.(*plain)
	return is
}

// Close tells that the body has ended.
func (s *Splitter) Close() error { return s.finish(nil) }

// finish takes the last piece of the body apart.
func (s *Splitter) finish(p []byte) error {
	if s.ended {
		return s.err
	}
	s.ended = true
	if s.err == nil && !s.out.stopped {
		s.split(p, true)
	}
	if s.format != nil {
		s.format.abort()
	}
	return s.err
}

// Abort ends a Splitter whose body will not be finished. It does nothing after Close.
func (s *Splitter) Abort() {
	if s.format != nil && !s.ended {
		s.format.abort()
	}
	s.ended = true
}

// An emitter keeps the name that values come with.
type emitter struct {
	yield   Yield
	name    []byte
	stopped bool
}

// key yields a name.
func (e *emitter) key(name []byte) bool {
	e.name = append(e.name[:0], name[:min(len(name), nameSize)]...)
	e.stopped = e.stopped || !e.yield(name, nil)
	return !e.stopped
}

// value yields a value of it.
func (e *emitter) value(v []byte) bool {
	if v == nil {
		v = []byte{}
	}
	e.stopped = e.stopped || !e.yield(e.name, v)
	return !e.stopped
}

// plain is text without a structure.
type plain struct{ out *emitter }

func (p *plain) split(buf []byte, _ int, end bool) (int, int, error) {
	done := 0
	for len(buf)-done >= pieceSize || end && done < len(buf) {
		n := min(len(buf)-done, pieceSize)
		p.out.value(buf[done : done+n])
		done += n
	}
	return done, len(buf), nil
}

func (*plain) abort() {}

// formSplitter is a multipart body: the fields of its parts' headers, and their bodies.
type formSplitter struct{ pump *pump }

func newFormSplitter(boundary []byte, out *emitter) *formSplitter {
	return &formSplitter{newPump(func(r io.Reader) error {
		b, release := buffered(r)
		defer release()
		p := &parts{b, append([]byte("\n--"), boundary...)}
		text := func(piece []byte) bool {
			// White space is what ends lines here, not what was said.
			return len(bytes.TrimSpace(piece)) == 0 || out.value(piece)
		}
		p.each(text, func(line []byte) bool {
			Header(line, func(name, value []byte) bool {
				if value == nil {
					return out.key(name)
				}
				return out.value(value)
			})
			return !out.stopped
		}, func(body io.Reader) bool {
			return formBody(body, out)
		})
		return nil
	})}
}

// formBody yields a part's body, in pieces.
func formBody(body io.Reader, out *emitter) bool {
	buf := chunks.Get().(*[32 << 10]byte)
	defer chunks.Put(buf)
	for {
		n, err := io.ReadFull(body, buf[:])
		if n > 0 && !out.value(buf[:n]) {
			return false
		}
		if err != nil {
			return true
		}
	}
}

func (f *formSplitter) split(buf []byte, _ int, end bool) (int, int, error) {
	err := f.pump.write(buf)
	if end && err == nil {
		err = f.pump.close()
	}
	return len(buf), len(buf), err
}

func (f *formSplitter) abort() { f.pump.abort() }
