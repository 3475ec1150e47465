package unpack

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"strings"
)

// maxBoundary is the longest boundary looked for, in bytes; RFC 2046 allows 70.
const maxBoundary = 200

// boundary is the one that contentType names for a multipart body (RFC 2046, section 5.1.1), or nil.
func boundary(contentType string) []byte {
	if len(contentType) > 4096 || len(contentType) < 10 || !strings.EqualFold(contentType[:10], "multipart/") {
		return nil
	}
	// A parameter that is wrong leaves the others, or nothing: then the body's first line decides.
	_, params, _ := mime.ParseMediaType(contentType)
	if b := params["boundary"]; b != "" && len(b) <= maxBoundary && !strings.ContainsAny(b, "\r\n") {
		return []byte(b)
	}
	return nil
}

// sniffBoundary finds the boundary of a multipart body in its first line: a delimiter that a line
// of a part's header follows.
func sniffBoundary(start []byte) []byte {
	if !bytes.HasPrefix(start, []byte("--")) {
		return nil
	}
	line, rest, ok := bytes.Cut(start[2:], []byte("\n"))
	line = bytes.TrimRight(line, " \t\r")
	if !ok || len(line) == 0 || len(line) > maxBoundary || len(rest) < 8 || !bytes.EqualFold(rest[:8], []byte("content-")) {
		return nil
	}
	return bytes.Clone(line)
}

// parts reads a multipart body. Its reader is lenient, and leaves nothing out but delimiters: what
// stands before the first and after the last is text too.
type parts struct {
	b     *bufio.Reader
	delim []byte // "\n--boundary"
}

// each calls text with pieces of what is no part, header with each line of a part's header, and body
// with its body; a piece or a line is at most as long as the buffer, and valid until the next. Body
// must read to the end. A false ends it.
func (p *parts) each(text func([]byte) bool, header func([]byte) bool, body func(io.Reader) bool) {
	preamble := &part{parts: p, first: true}
	piece := chunks.Get().(*[32 << 10]byte)
	defer chunks.Put(piece)
	for {
		n, err := preamble.Read(piece[:])
		if n > 0 && !text(piece[:n]) {
			return
		}
		if err != nil {
			break
		}
	}
	for last := preamble.last; !last; {
		for {
			line, err := p.b.ReadSlice('\n')
			if len(line) == 0 {
				return
			}
			line = bytes.TrimRight(line, "\r\n")
			if len(line) == 0 && !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
			if !header(line) {
				return
			}
		}
		b := &part{parts: p, first: true}
		if !body(b) {
			return
		}
		last = b.last
	}
	for {
		if _, err := p.b.Peek(1); err != nil {
			return
		}
		rest, _ := p.b.Peek(p.b.Buffered())
		if !text(rest) {
			return
		}
		_, _ = p.b.Discard(len(rest)) // they are buffered
	}
}

// A part reads up to a delimiter, and over it.
type part struct {
	*parts
	first bool // the delimiter may come at once, without its line end
	ended bool
	last  bool // no part follows
}

// tail is how much white space may follow a delimiter on its line.
const tail = 64

func (p *part) Read(b []byte) (int, error) {
	if p.ended {
		return 0, io.EOF
	}
	need := len(p.delim) + 2 + tail // with a carriage return
	buf, err := p.b.Peek(need)
	end := err != nil
	if !end {
		buf, _ = p.b.Peek(p.b.Buffered())
	}
	if len(buf) == 0 {
		p.ended, p.last = true, true
		return 0, io.EOF
	}
	delim := p.delim
	i := 0
	if p.first && bytes.HasPrefix(buf, delim[1:]) {
		delim = delim[1:]
	} else if i = bytes.Index(buf, delim); i < 0 {
		// Of a delimiter, and the carriage return before it, the start may be here.
		i = len(buf)
		if !end {
			i -= len(delim)
		}
		return p.give(b, buf[:i])
	}
	p.first = false
	text := buf[:i]
	if i > 0 && buf[i-1] == '\r' && len(delim) == len(p.delim) {
		text = buf[:i-1]
	}
	if len(text) > 0 {
		return p.give(b, text)
	}
	over, last, ok := delimiterEnd(buf[i+len(delim):], end)
	if !ok {
		return p.give(b, buf[:i+len(delim)])
	}
	_, _ = p.b.Discard(i + len(delim) + over) // they are buffered
	p.ended, p.last = true, last
	return 0, io.EOF
}

func (p *part) give(b, text []byte) (int, error) {
	p.first = false
	n := copy(b, text)
	_, _ = p.b.Discard(n) // they are buffered
	return n, nil
}

// delimiterEnd looks at what follows a boundary: two hyphens after the last, then white space and a
// line end, or the end of all.
func delimiterEnd(b []byte, end bool) (n int, last, ok bool) {
	if last = bytes.HasPrefix(b, []byte("--")); last {
		n = 2
	}
	for ; n < len(b) && n < tail; n++ {
		switch b[n] {
		case ' ', '\t', '\r':
		case '\n':
			return n + 1, last, true
		default:
			return 0, false, false
		}
	}
	return n, last, end && n == len(b)
}

// form visits the parts of a multipart body by their file names, or their names.
func (w *walker) form(b *bufio.Reader, boundary []byte, depth int, in string) {
	p := &parts{b, append([]byte("\n--"), boundary...)}
	m := Member{In: inside(in, Form), Verbatim: true}
	more := func([]byte) bool { return w.fail == nil }
	p.each(more, func(line []byte) bool {
		Header(line, func(name, value []byte) bool {
			if value != nil && (m.Name == "" && string(name) == "name" || len(value) > 0 && string(name) == "filename") {
				m.Name = string(value)
			}
			return true
		})
		return w.fail == nil
	}, func(body io.Reader) bool {
		c := &content{w: w, r: body}
		w.member(m, c, depth+1)
		m.Name = ""
		return w.fail == nil
	})
}
