package inspect

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/scan/unpack"
)

// chunk is how much of a passing body is read at once, in bytes.
const chunk = 32 << 10

// passing is a body that is looked at while it passes. Of a body of known length everything is held
// back that may still become part of a finding. Of one without, which may be one half of a
// conversation that waits for what was said, everything goes on that was looked at.
type passing struct {
	r     *http.Request
	src   io.ReadCloser
	talks bool // its length is not known

	stream *scan.Stream
	coded  bool
	decode *unpack.Decoder
	inside *inside
	values *unpack.Splitter // into joined; nil where a finding may be replaced, which only stream's can
	joined *scan.Stream     // what stands between the values left out

	buf   []byte // read and not forwarded, from off on
	off   int
	base  int64 // where buf[off] is in the body
	ready int   // how much of it may go
	err   error

	mu    sync.Mutex // of what the engine asks for while a transport still reads
	ended bool
	j     *judging
	found []Found // whose spans are to be overwritten
}

func (in *Inspector) passing(j *judging, r *http.Request, codings []string) (*passing, error) {
	b := &passing{r: r, src: r.Body, talks: r.ContentLength < 0, j: j, coded: len(codings) > 0}
	b.stream = in.scanner.Stream(func(f scan.Finding) {
		if f := (Found{f, "the body"}); j.take(f, !b.coded) {
			b.found = append(b.found, f)
		}
	})
	b.inside = in.inside(r.Header.Get("Content-Type"), func(f Found) { j.take(f, false) })
	if j.s.Action() == policy.Block {
		b.joined = in.scanner.Stream(func(f scan.Finding) { j.take(Found{f, "what the values of the body come to"}, false) })
		b.values = unpack.NewSplitter(media(r), in.limits, func(_, value []byte) bool {
			if b.values.Plain() {
				return false // stream has seen it
			}
			_, _ = b.joined.Write(value) // never fails
			return true
		})
	}
	var err error
	b.decode, err = unpack.NewDecoder(codings, in.limits, b.plain)
	return b, err
}

// plain is shown the next bytes of the body as they are without its coding.
func (b *passing) plain(p []byte) error {
	_, _ = b.stream.Write(p) // never fails
	if b.talks {
		b.stream.Flush()
	}
	if b.values != nil {
		if _, err := b.values.Write(p); err != nil {
			return err
		}
	}
	_, err := b.inside.walker.Write(p)
	return err
}

// end says that the body has ended.
func (b *passing) end() error {
	b.ended = true
	err := b.decode.Close()
	_ = b.stream.Close() // never fails
	if b.values != nil {
		if verr := b.values.Close(); err == nil {
			err = verr
		}
		_ = b.joined.Close() // as above
	}
	if werr := b.inside.walker.Close(); err == nil {
		err = werr
	}
	return err
}

// Read reads what may be forwarded.
func (b *passing) Read(p []byte) (int, error) {
	for b.ready == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.advance()
	}
	n := copy(p, b.buf[b.off:b.off+b.ready])
	b.off += n
	b.base += int64(n)
	b.ready -= n
	return n, nil
}

// advance reads a piece, looks at it, and settles how much may go.
func (b *passing) advance() {
	have := copy(b.buf, b.buf[b.off:]) // little or nothing
	b.off = 0
	b.buf = slices.Grow(b.buf[:have], chunk)[:have+chunk]
	n, err := b.src.Read(b.buf[have:])
	b.buf = b.buf[:have+n]

	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	b.see(b.buf[have:], errors.Is(err, io.EOF))
	b.replace()
	switch {
	case b.j.rep.Stopped():
		b.buf, b.err = nil, &StoppedError{b.j.rep}
	case err != nil, b.talks:
		b.ready = len(b.buf)
	case b.coded:
		b.ready = have // what came before this piece
	default:
		b.ready = int(min(max(0, b.stream.Settled()-b.base), int64(len(b.buf))))
	}
}

// see shows a piece of the body to everybody who looks at it.
func (b *passing) see(p []byte, last bool) {
	_, err := b.decode.Write(p)
	if err == nil && last {
		err = b.end()
		b.j.trailer(b.r.Trailer)
	}
	if err != nil && !damaged(err) {
		b.j.opaque("the body", err)
	}
}

// replace overwrites what was found and may be. Of what is gone already nothing can be replaced.
func (b *passing) replace() {
	for _, f := range b.found {
		if f.Start < b.base {
			b.j.rep.Blocked = &f
			break
		}
		b.j.overwrite(b.buf, b.base, f)
	}
	b.found = b.found[:0]
}

// Close ends the looking and closes the request's body.
func (b *passing) Close() error {
	b.mu.Lock()
	if !b.ended {
		b.ended = true
		b.decode.Abort()
		b.inside.walker.Abort()
		if b.values != nil {
			b.values.Abort()
		}
	}
	b.mu.Unlock()
	return b.src.Close()
}

func (b *passing) snapshot() Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.j.report()
}
