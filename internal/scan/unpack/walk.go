package unpack

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// A Member is one text that a body holds inside.
type Member struct {
	// Name is what the archive calls it, as it stands there: hostile, at most 1 MiB. What is merely
	// compressed has none.
	Name string
	// In is the containers it is in, the outermost first: "gzip/tar". It is safe to show.
	In string
	// Verbatim says that its bytes stand as they are in the text around it (the body, or the member
	// that the containers before the last are), so that who has scanned that has seen them.
	Verbatim bool
}

// Visit is told each member of a body, in the order they come. The member's bytes are written to w,
// which is closed after the last if it is an io.Closer; with a nil w they are not, but are still
// walked through. An error, its own or w's, ends the walk.
type Visit func(Member) (w io.Writer, err error)

// Walk reads a body and visits what is in it: the members of zip and tar archives, the parts of a
// multipart body, and the text below gzip, zlib, zstd and bzip2, nested and told by their first
// bytes. A zip is found at any offset, because programs that open one look for it from the end. r
// itself is not visited: its reader has seen it.
//
// A zip is read in one pass by the headers before its members; its directory then has to agree
// with them. A name that only one of the two has is visited too, without bytes.
//
// The error is a *BombError when a limit is passed, which ends the walk, r's or visit's own, or the
// first *OpaqueError, for which it goes on.
func Walk(r io.Reader, l Limits, visit Visit) error {
	return walk(r, l, "", visit)
}

// Flat reports whether Walk would visit nothing in a whole body, at a fraction of the cost.
func Flat(contentType string, body []byte) bool {
	start := body[:min(len(body), MagicSize)]
	kind := Magic(start)
	return (kind == None || kind == PDF) && boundary(contentType) == nil && sniffBoundary(start) == nil &&
		!bytes.Contains(body, []byte("PK")) // as all parts of a zip begin
}

func walk(r io.Reader, l Limits, contentType string, visit Visit) error {
	m := newMeter(l)
	w := &walker{meter: m, visit: visit}
	w.layer(&source{w, &counted{r, m}}, 0, "", boundary(contentType))
	if w.fail != nil {
		return w.fail
	}
	if w.opaque != nil {
		return w.opaque
	}
	return nil
}

// A Walker is Walk for a body that is written to it. Visit and the writers it returns are called from
// within Write and Close, in the caller's goroutine. It must be ended by Close or by Abort and is
// not safe for concurrent use.
type Walker struct{ pump *pump }

// NewWalker returns one. The body's Content-Type serves to find the boundary of a multipart body,
// which is otherwise guessed from its first line; it may be empty, and lie.
func NewWalker(contentType string, l Limits, visit Visit) *Walker {
	return &Walker{newPump(func(r io.Reader) error { return walk(r, l, contentType, visit) })}
}

// Write walks through p. The errors are those of Walk but *OpaqueError, which only Close returns.
func (w *Walker) Write(p []byte) (int, error) {
	if err := w.pump.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close tells that the body has ended and returns what Walk does.
func (w *Walker) Close() error { return w.pump.close() }

// Abort ends a Walker whose body will not be finished. It does nothing after Close.
func (w *Walker) Abort() { w.pump.abort() }

// A walker is one walk. Its parsers return no errors: once fail is set every source is at its end,
// and so are they.
type walker struct {
	*meter
	visit  Visit
	fail   error
	opaque *OpaqueError // the first
}

// source is the body. Its errors are the walk's, not signs of damage.
type source struct {
	w *walker
	r io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	if s.w.fail != nil {
		return 0, io.EOF
	}
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.w.fail, err = err, io.EOF
	}
	return n, err
}

// tap writes what is read to a visitor.
type tap struct {
	w  *walker
	r  io.Reader
	to io.Writer
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.w.fail != nil {
		return 0, io.EOF
	}
	if n > 0 {
		if _, err := t.to.Write(p[:n]); err != nil {
			t.w.fail = err
			return 0, io.EOF
		}
	}
	return n, err
}

// content is what comes out of a container. Damage is its end, and remembered.
type content struct {
	w       *walker
	r       io.Reader
	n       int64
	decoded bool // counts as decoded
	damaged bool
}

func (c *content) Read(p []byte) (int, error) {
	if c.w.fail != nil || c.damaged {
		return 0, io.EOF
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.decoded {
		if bomb := c.w.count(n); bomb != nil {
			c.w.fail = bomb
			return 0, io.EOF
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if bomb := (*BombError)(nil); errors.As(err, &bomb) {
			c.w.fail = bomb
		}
		c.damaged, err = true, io.EOF
	}
	return n, err
}

func (w *walker) shut(k Kind, in string, why Reason) {
	if w.opaque == nil && w.fail == nil {
		w.opaque = &OpaqueError{Kind: k, In: in, Reason: why}
	}
}

// inside is the path of what is in a k that is in in.
func inside(in string, k Kind) string {
	if in == "" {
		return k.String()
	}
	return in + "/" + k.String()
}

// member visits one and walks through it to its end.
func (w *walker) member(m Member, c *content, depth int) {
	if w.fail != nil {
		return
	}
	if w.fail = w.countMember(); w.fail != nil {
		return
	}
	to, err := w.visit(m)
	if err != nil {
		w.fail = err
		return
	}
	var r io.Reader = c
	if to != nil {
		r = &tap{w, c, to}
	}
	w.layer(r, depth, m.In, nil)
	w.finish(to)
}

// named visits a name that comes without bytes.
func (w *walker) named(m Member) {
	if w.fail != nil {
		return
	}
	to, err := w.visit(m)
	w.fail = err
	w.finish(to)
}

// finish closes a member's writer.
func (w *walker) finish(to io.Writer) {
	if closer, ok := to.(io.Closer); ok && w.fail == nil {
		w.fail = closer.Close()
	}
}

// layer walks through r, whose bytes have been visited or are at the moment, to its end.
func (w *walker) layer(r io.Reader, depth int, in string, boundary []byte) {
	pos := &position{r: r}
	b, release := buffered(pos)
	defer release()
	pos.b = b
	start, _ := b.Peek(MagicSize)
	kind := Magic(start)
	if boundary == nil {
		boundary = sniffBoundary(start)
	}
	if boundary != nil {
		kind = Form
	}
	switch {
	case kind == XZ || kind == LZ4 || kind == SevenZip || kind == RAR:
		w.shut(kind, in, Unsupported)
	case kind == None || kind == PDF || kind == Zip:
	case depth == w.limits.Depth:
		if kind != Zlib {
			w.shut(kind, in, TooDeep)
		}
	case kind == Tar:
		w.tar(b, depth, in)
	case kind == Form:
		w.form(b, boundary, depth, in)
	default:
		w.compressed(b, kind, depth, in)
	}
	w.zip(pos, kind == Zip, depth, in)
}

// position knows where in a layer its buffer is.
type position struct {
	r io.Reader
	b *bufio.Reader
	n int64 // read from r
}

func (p *position) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	return n, err
}

// at is the offset of the next byte that b gives.
func (p *position) at() int64 { return p.n - int64(p.b.Buffered()) }

// decompressors are what compressed kinds are read by. What follows them is walked on its own.
var decompressors = map[Kind]coder{Gzip: gunzip, Zlib: zlibInflate, Zstd: unzstd, Bzip2: unbzip2}

func (w *walker) compressed(b *bufio.Reader, kind Kind, depth int, in string) {
	r, release, err := decompressors[kind](b, w.limits)
	if err != nil {
		if kind != Zlib {
			w.shut(kind, in, Damaged)
		}
		return
	}
	defer release()
	c := &content{w: w, r: r, decoded: true}
	w.member(Member{In: inside(in, kind)}, c, depth+1)
	if c.damaged && kind != Zlib { // which it may never have been
		w.shut(kind, in, Damaged)
	}
}
