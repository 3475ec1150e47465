package scan

import (
	"bytes"
	"slices"
	"strings"
	"unicode"

	"github.com/claude-bottle/claude-bottle/internal/scan/decode"
	"github.com/claude-bottle/claude-bottle/internal/scan/known"
	"github.com/claude-bottle/claude-bottle/internal/scan/shape"
)

// A worker looks at one piece of text and at whatever can be decoded from it. Its memory is reused.
type worker struct {
	s       *Scanner
	levels  []*level
	frames  []frame // how the text being looked at was decoded, outermost first
	found   []Finding
	first   int   // findings before it are the caller's
	origin  int64 // of the piece, in the input
	budget  int   // bytes of decoded text that may still be looked at
	spent   bool
	turn    turn   // done to the text being looked at
	text    []byte // being looked at
	joined  []byte
	borders []int64
	onShape func(rule string, start, end int)
}

// level is the memory for one depth of decoding.
type level struct {
	blocks    []known.Block
	signs     []decode.Signs // of each block
	hits      []known.Hit
	view      decode.Text
	digits    decode.Kept
	stretches []decode.Stretch
	decoded   []byte
	scratch   decode.Scratch
}

// frame is one step of decoding and how to get back: from offsets of its result to the text before.
type frame struct {
	name    string          // of what was undone; a stretch knows its own
	base    int             // where in the text before the decoded part begins
	text    *decode.Text    // the result; nil: it has no offsets of its own, it stands for size bytes
	size    int             // of the part
	stretch *decode.Stretch // of digits, that the result was read from; nil: of none
	digits  *decode.Kept
	turn    turn
}

// turn is what was done to a whole text before its escapes were undone.
type turn uint8

const (
	asIs turn = iota
	reversed
	rotated
)

func (f *frame) source(start, end int) (int, int) {
	switch {
	case f.turn == reversed:
		start, end = f.size-end, f.size-start
	case f.turn == rotated:
	case f.stretch != nil:
		start, end = f.digits.Source(f.stretch.Source(start, end))
	case f.text != nil:
		start, end = f.text.Source(start, end)
	default:
		start, end = 0, f.size
	}
	return f.base + start, f.base + end
}

func newWorker(s *Scanner) *worker {
	w := &worker{s: s}
	w.onShape = w.shape
	return w
}

const (
	// work is how much decoded text is looked at for each byte of input, besides a start that lets
	// short texts be read in every way: several layers that are each as long as the input, as base64
	// in JSON in JSON.
	work, start = 16, 64 << 10
	// escapes is how often escapes are undone one after another.
	escapes = 10
	// A decoded text costs the budget something even if it's empty.
	entry = 16
)

// piece looks at text, which begins at origin.
func (w *worker) piece(text []byte, origin int64) {
	w.origin, w.budget, w.spent = origin, work*len(text)+start, false
	w.look(text, w.s.depth, escapes)
	if w.spent {
		w.add(Finding{Kind: Exhausted, Rule: "layers", Start: origin, End: origin + int64(len(text)), Excerpt: "too many layers to look through"})
	}
}

// pieces looks at text of any length, which begins at origin.
func (w *worker) pieces(text []byte, origin int64) {
	for from := 0; ; from += window - overlap {
		to := min(from+window, len(text))
		w.piece(text[from:to], origin+int64(from))
		if to == len(text) {
			return
		}
	}
}

// straddling drops, of what was found from first on, what was found in one of the joined parts alone, and
// the placeholders that only the next part makes longer than one is. The joined parts begin at origin. It
// returns where what is found next begins.
func (w *worker) straddling(first int, origin int64) int {
	kept := w.found[:first]
	for _, f := range w.found[first:] {
		next, _ := slices.BinarySearch(w.borders, f.Start+1)
		if next < len(w.borders) && w.borders[next] < f.End {
			if f.Kind == Shape && shape.Placeholder(w.joined[f.Start-origin:w.borders[next]-origin]) {
				continue
			}
			f.Via = strings.TrimSuffix("split+"+f.Via, "+")
			kept = append(kept, f)
		}
	}
	w.found = kept
	return len(kept)
}

// look finds what is in text and in what can be decoded from it. depth is how many encodings may
// still be undone, again how many rounds of escapes.
func (w *worker) look(text []byte, depth, again int) {
	n := len(w.frames)
	if n == len(w.levels) {
		w.levels = append(w.levels, &level{})
	}
	l := w.levels[n]
	outer := w.text
	w.text = text
	l.hits, l.blocks = w.s.set.Find(l.hits[:0], l.blocks[:0], text)
	for _, h := range l.hits {
		w.known(h)
	}
	if w.s.shapes != nil {
		w.s.shapes.Find(text, w.onShape)
	}
	var flags known.Block
	for _, b := range l.blocks {
		flags |= b
	}
	if again > 0 {
		if flags&(hasEscape|known.HasEquals) != 0 {
			w.escapes(l, text, depth, again)
		}
		if flags&known.HasWide != 0 {
			w.wide(l, text, depth, again)
		}
	}
	if depth > 0 {
		w.encoded(l, text, depth, again)
	}
	w.text = outer
}

// inner looks at a decoded text, if the budget allows.
func (w *worker) inner(text []byte, f frame, depth, again int) {
	if w.budget -= len(text) + entry; w.budget < 0 {
		w.spent = true
		return
	}
	w.frames = append(w.frames, f)
	w.look(text, depth, again)
	w.frames = w.frames[:len(w.frames)-1]
}

// parts calls yield for the parts of [from,to) that decode can take at once, overlapping.
func parts(from, to int, yield func(from, to int)) {
	for to-from > decode.MaxText {
		yield(from, from+decode.MaxText)
		from += decode.MaxText - overlap
	}
	yield(from, to)
}

// wide undoes UTF-16.
func (w *worker) wide(l *level, text []byte, depth, again int) {
	done := 0
	for i, b := range l.blocks {
		if b&known.HasWide == 0 {
			continue
		}
		end := min((i+1)*known.BlockSize, len(text))
		for at := max(done, i*known.BlockSize); at < end; at++ {
			if text[at] != 0 && text[at] != 0xFF {
				continue
			}
			base := max(0, at-1)
			part := text[base:min(len(text), base+decode.MaxText)]
			stop := at
			for _, bigEndian := range []bool{false, true} {
				n := l.view.Wide(part, at-base, bigEndian)
				if n == at-base {
					continue
				}
				stop = base + n
				if len(l.view.Bytes) > 0 {
					w.inner(l.view.Bytes, frame{name: "utf-16", base: base, text: &l.view}, depth, again-1)
				}
			}
			if stop > at {
				at = stop - 1
				done = stop
			}
		}
	}
}

// encoded decodes what looks encoded.
func (w *worker) encoded(l *level, text []byte, depth, again int) {
	rows(l.blocks, text, w.s.least*4/3, func(from, to int, broken bool) {
		parts(from, to, func(from, to int) {
			if !broken {
				broken = w.unbroken(l, text[from:to], from, depth, again)
			}
			if broken {
				w.broken(l, text[from:to], from, depth, again)
			}
		})
	})
	l.digits.Forget()
}

// unbroken decodes a row of digits. It reports whether so many are symbols that they may be
// separators rather than digits.
func (w *worker) unbroken(l *level, part []byte, base, depth, again int) bool {
	symbols, others, numbers := count(part)
	if others == 0 {
		l.digits.All(part, decode.Base64Digits)
	} else {
		l.digits.Keep(part, decode.Base64Digits)
	}
	w.compressed(l, base, base+len(part), depth)
	l.digits.Shorten()
	text := l.digits.Bytes
	l.stretches = decode.Base64(l.stretches[:0], text, w.s.least)
	l.stretches = l.scratch.Base32(l.stretches, text, w.s.least)
	if numbers >= decode.FewestNumbers(w.s.least) {
		l.stretches = l.scratch.Hex(l.stretches, text, w.s.least)
	}
	w.stretches(l, base, depth, again)
	return symbols+others > len(part)/10
}

// broken decodes digits among which stand others. The counts say what can't come to anything.
func (w *worker) broken(l *level, part []byte, base, depth, again int) {
	symbols, others, numbers := count(part)
	if numbers >= decode.ShortestList && l.view.Numbers(part) {
		w.inner(l.view.Bytes, frame{name: "numbers", base: base, text: &l.view}, depth-1, again)
	}
	if symbols > 0 && symbols < others { // the others are the separators
		l.keep(part, decode.Base64Digits)
		l.stretches = decode.Base64(l.stretches[:0], l.digits.Bytes, w.s.least)
		w.stretches(l, base, depth, again)
	}
	l.keep(part, decode.Alphanumeric)
	l.stretches = decode.Base64(l.stretches[:0], l.digits.Bytes, w.s.least)
	l.stretches = l.scratch.Base32(l.stretches, l.digits.Bytes, w.s.least)
	w.stretches(l, base, depth, again)
	if numbers < decode.FewestNumbers(w.s.least) {
		return
	}
	for _, set := range []*[256]bool{decode.HexDigits, decode.RotatedHex} {
		l.keep(part, set)
		l.stretches = l.scratch.Hex(l.stretches[:0], l.digits.Bytes, w.s.least)
		w.stretches(l, base, depth, again)
	}
}

// count counts the bytes of part, at most decode.MaxText, that are digits of base64 but neither letters
// nor numbers, those that are no digits at all, and the numbers.
func count(part []byte) (symbols, others, numbers int) {
	n := uint64(0)
	for _, c := range part {
		n += sorts[c]
	}
	return int(n & 0xFFFF), int(n >> 16 & 0xFFFF), int(n >> 32)
}

// sorts has for each byte a one in the 16 bits in which count counts its sort.
var sorts = func() (t [256]uint64) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = 1 << 32
		case !decode.Base64Digits[c]:
			t[c] = 1 << 16
		case !decode.Alphanumeric[c]:
			t[c] = 1
		}
	}
	return t
}()

// keep makes digits of those of part that are in set.
func (l *level) keep(part []byte, set *[256]bool) {
	l.digits.Keep(part, set)
	l.digits.Shorten()
}

func (w *worker) stretches(l *level, base, depth, again int) {
	for i := range l.stretches {
		s := &l.stretches[i]
		l.decoded = s.Append(l.decoded[:0], l.digits.Bytes)
		if !decode.Readable(l.decoded, w.s.least) { // two digits at a time it seemed so
			continue
		}
		w.inner(l.decoded, frame{base: base, digits: &l.digits, stretch: s}, depth-1, again)
	}
}

// magic is how compressed data begins, in base64 and in hex.
var magic = []struct {
	width  int
	begins string
	inside bool // long enough to be looked for anywhere
}{
	{6, "H4sI", true}, {6, "UEsDB", true}, {6, "KLUv/", true}, {6, "QlpoO", true},
	{6, "eJ", false}, {6, "eN", false}, {6, "eA", false}, {6, "eF", false},
	{4, "1f8b08", true}, {4, "504b0304", true}, {4, "28b52ffd", true}, {4, "425a68", true},
	{4, "789c", false}, {4, "78da", false}, {4, "7801", false}, {4, "785e", false},
}

// compressed opens compressed data and archives in the digits of l, which were [from,to) of the text.
func (w *worker) compressed(l *level, from, to, depth int) {
	if w.s.unpack == nil {
		return
	}
	for _, m := range magic {
		at := -1
		if m.inside {
			at = bytes.Index(l.digits.Bytes, []byte(m.begins))
		} else if bytes.HasPrefix(l.digits.Bytes, []byte(m.begins)) {
			at = 0
		}
		if at < 0 {
			continue
		}
		s := decode.Stretch{Width: m.width, From: at, To: len(l.digits.Bytes)}
		if !s.Trim(l.digits.Bytes) {
			continue
		}
		data := s.Append(nil, l.digits.Bytes)
		err := w.s.unpack(data, func(b []byte) {
			w.inner(b, frame{name: s.Name() + "+compressed", base: from, size: to - from}, depth-1, escapes)
		})
		w.spent = w.spent || err != nil
	}
}

// known reports a known value.
func (w *worker) known(h known.Hit) {
	n := &w.s.secrets[h.Secret]
	form := h.Form
	if form == "" {
		h.Start, h.End = withSymbols(w.text, n.value, h.Start, h.End)
		form = plainForm(w.text[h.Start:h.End], n.value)
	}
	w.report(Finding{Kind: n.kind, Rule: n.name, Digest: n.digest, Excerpt: n.name}, form, h.Start, h.End)
}

// withSymbols takes in the symbols that value begins and ends with, where text has them.
func withSymbols(text, value []byte, start, end int) (int, int) {
	isLetter := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	if n := bytes.IndexFunc(value, isLetter); n > 0 && bytes.HasSuffix(text[:start], value[:n]) {
		start -= n
	}
	if n := bytes.LastIndexFunc(value, isLetter); n >= 0 && bytes.HasPrefix(text[end:], value[n+1:]) {
		end += len(value) - n - 1
	}
	return start, end
}

// plainForm says how text, which has the letters and digits of value, differs from it.
func plainForm(text, value []byte) string {
	core := bytes.TrimFunc(value, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	switch {
	case bytes.Equal(text, value), bytes.Equal(text, core):
		return ""
	case bytes.EqualFold(text, core):
		return "case"
	case len(text) < len(value):
		return "part"
	}
	return "separators"
}

// shape reports a credential's shape.
func (w *worker) shape(rule string, start, end int) {
	if start < 0 || end > len(w.text) || start >= end {
		return
	}
	v := w.text[start:end]
	w.report(Finding{Kind: Shape, Rule: rule, Digest: w.s.digest(v), Excerpt: excerpt(v)}, "", start, end)
}

// report adds f, found at [start,end) of the text being looked at.
func (w *worker) report(f Finding, form string, start, end int) {
	for i := len(w.frames) - 1; i >= 0; i-- {
		start, end = w.frames[i].source(start, end)
	}
	f.Start, f.End = w.origin+int64(start), w.origin+int64(end)
	for i := range w.frames {
		step := &w.frames[i]
		if step.stretch != nil {
			f.Via += step.stretch.Name() + "+"
		} else {
			f.Via += step.name + "+"
		}
	}
	f.Via = strings.TrimSuffix(f.Via+form, "+")
	w.add(f)
}

// add appends f to what was found, unless the same was found at the same place: one secret can often
// be read in several ways. The first way said is the simplest.
func (w *worker) add(f Finding) {
	own := w.found[w.first:]
	for i := len(own) - 1; i >= 0; i-- {
		o := &own[i]
		if o.Kind == f.Kind && o.Rule == f.Rule && o.Start < f.End && f.Start < o.End {
			o.Start, o.End = min(o.Start, f.Start), max(o.End, f.End)
			return
		}
	}
	switch {
	case len(own) < most:
		w.found = append(w.found, f)
	case len(own) == most:
		w.found = append(w.found, Finding{Kind: Exhausted, Rule: "findings", Start: f.Start, End: f.End, Excerpt: "too many findings to list"})
	}
}
