// Package decode undoes the encodings that hide a text from who looks for its letters in order:
// escapes (percent, \u, \x, octal, HTML entities, nested), quoted-printable, invisible and lookalike
// characters, UTF-16, and base64, base32 and hex found inside other text at any alignment, backwards
// or rotated by 13.
//
// A sender chooses how a text is disguised and a scanner must guess, so nothing here demands a
// well-formed input: whatever could be read as encoded text is offered, and what turns out to be
// noise costs little. Every function is linear in its input and keeps for each byte of its result
// where it came from.
package decode

import "slices"

// MaxText is the longest text the functions take: origins are 16 bits wide.
const MaxText = 1<<16 - 1

// Text is a decoded text.
type Text struct {
	Bytes []byte
	marks []mark // where Bytes come from, in order; the last one ends them
}

// A mark says that the bytes from to on, up to those of the next mark, were written by the source from
// from on, each by one byte. Where bytes were left out, the one before them reaches over them.
type mark struct{ to, from uint16 }

func (t *Text) reset() { t.Bytes, t.marks = t.Bytes[:0], t.marks[:0] }

func (t *Text) mark(from int) {
	t.marks = append(t.marks, mark{uint16(len(t.Bytes)), uint16(from)})
}

func (t *Text) put(c byte, from int) {
	t.mark(from)
	t.Bytes = append(t.Bytes, c)
}

// copy puts text[from:to], as it is.
func (t *Text) copy(text []byte, from, to int) {
	if from < to {
		t.mark(from)
		t.Bytes = append(t.Bytes, text[from:to]...)
	}
}

// Source is the span of the source that wrote Bytes[start:end]; start is before end.
func (t *Text) Source(start, end int) (int, int) { return t.source(start), t.source(end) }

func (t *Text) source(i int) int {
	n, found := slices.BinarySearchFunc(t.marks, i, func(m mark, i int) int { return int(m.to) - i })
	if !found {
		n--
	}
	return int(t.marks[n].from) + i - int(t.marks[n].to)
}
