package unpack

import (
	"bytes"
	"io"
)

// Sizes of what Expand yields, in bytes. A credential shape is far shorter than the overlap.
const (
	expandSize    = 64 << 10
	expandOverlap = 4 << 10
)

// Expand walks through data that was found inside other data and yields the texts that data itself
// does not show: names, and members that were compressed. A text longer than 64 KiB comes in pieces
// that overlap by 4 KiB. A piece is yield's until it returns. The error is Walk's.
func Expand(data []byte, l Limits, yield func([]byte)) error {
	return Walk(bytes.NewReader(data), l, func(m Member) (io.Writer, error) {
		if m.Name != "" {
			yield([]byte(m.Name))
		}
		if m.Verbatim {
			return nil, nil
		}
		return &gatherer{yield: yield}, nil
	})
}

// A gatherer makes the writes of a member as large as they may be.
type gatherer struct {
	yield func([]byte)
	text  []byte
	told  int // bytes of text that have been yielded
}

func (g *gatherer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), expandSize-len(g.text))
		g.text, p = append(g.text, p[:take]...), p[take:]
		if len(g.text) == expandSize {
			g.yield(g.text)
			g.text = append(g.text[:0], g.text[expandSize-expandOverlap:]...)
			g.told = len(g.text)
		}
	}
	return n, nil
}

// Close yields the last piece.
func (g *gatherer) Close() error {
	if len(g.text) > g.told {
		g.yield(g.text)
	}
	return nil
}
