// Package known finds values that are known beforehand, under disguises that keep their letters and
// digits in order.
//
// # How
//
// Text is looked at squeezed: letters in lower case and digits, everything else dropped. That alone
// undoes separators, line breaks, invisible characters, UTF-16 and changes of case. Each value is
// looked for as it is, reversed and rotated by 13, each of them also as hex (which is what is left of
// percent and of quoted-printable), base64 and base32 at every alignment, and in decimal. One pass
// keeps the last squeezed bytes in a register and asks a bitmap of 8 KB whether some form has five of
// them in its middle; where it says so the form is compared in both directions. It costs about a
// nanosecond a byte, whatever the number of values.
//
// What needs decoding first is package decode's, and package scan's to put together.
package known

import (
	"bytes"
	"math/bits"
)

// Set looks for a set of values. It's immutable and safe for concurrent use.
type Set struct {
	bits     [1024]uint64
	slots    []slot
	patterns []pattern
	short    []short
	longest  int
	least    int
}

// A slot of the hash table: the gram above, below it the pattern plus one and which of its four
// grams that is. 0 is an empty slot.
type slot uint64

func makeSlot(g uint64, pattern, nth int) slot {
	return slot(g<<24 | uint64(pattern+1)<<2 | uint64(nth))
}

func (s slot) gram() uint64 { return uint64(s >> 24) }
func (s slot) pattern() int { return int(s>>2&(1<<22-1)) - 1 }
func (s slot) nth() int     { return int(s & 3) }

// short is a value too poor to be looked for in squeezed text.
type short struct {
	secret int
	value  []byte
}

// Hit is a value found.
type Hit struct {
	Secret     int    // index into what New was given
	Form       string // "", "hex", "base64+reversed", ...: inside out
	Start, End int
}

const mix = 0x9E3779B97F4A7C15 // 2^64 over the golden ratio: spreads the eight bytes over the top bits

// New makes a set. The second result lists the values, by index, too short to be looked for.
func New(values [][]byte) (*Set, []int) {
	s := &Set{least: 1 << 20}
	var tooShort []int
	for i, v := range values {
		v = bytes.TrimSpace(v)
		if len(v) < verbatim {
			tooShort = append(tooShort, i)
			continue
		}
		s.least = min(s.least, len(v))
		own := patterns(i, v)
		plain := false
		for _, p := range own {
			plain = plain || p.form == ""
			s.longest = max(s.longest, len(p.text))
		}
		if !plain {
			s.short = append(s.short, short{i, v})
		}
		s.patterns = append(s.patterns, own...)
	}
	s.slots = make([]slot, 1<<bits.Len(uint(2*stride*len(s.patterns)+1)))
	for i, p := range s.patterns {
		for nth := range stride {
			g := gram(p.text[int(p.anchor)+nth:])
			x := g * mix
			s.bits[x>>54] |= 1 << (x >> 48 & 63)
			at := s.slotOf(g)
			for s.slots[at] != 0 {
				at = (at + 1) & (len(s.slots) - 1)
			}
			s.slots[at] = makeSlot(g, i, nth)
		}
	}
	return s, tooShort
}

func (s *Set) slotOf(g uint64) int { return int(g*mix>>24) & (len(s.slots) - 1) }

// Longest is the length of the longest form looked for, in squeezed bytes.
func (s *Set) Longest() int { return s.longest }

// Shortest is the length of the shortest value looked for, in bytes.
func (s *Set) Shortest() int { return s.least }

// Find appends what it finds in text to hits, and a Block for each 32 bytes of it to blocks.
func (s *Set) Find(hits []Hit, blocks []Block, text []byte) ([]Hit, []Block) {
	first := len(hits)
	var h uint64
	i := 0
	for ; i+BlockSize <= len(text); i += BlockSize {
		b := (*[BlockSize]byte)(text[i:])
		var digits, flags uint32
		for j := 0; j < BlockSize; j += stride {
			e0, e1, e2, e3 := table[0][b[j]], table[1][b[j+1]], table[2][b[j+2]], table[3][b[j+3]]
			h = h<<(e0&63) | uint64(uint8(e0>>foldShift))
			h = h<<(e1&63) | uint64(uint8(e1>>foldShift))
			h = h<<(e2&63) | uint64(uint8(e2>>foldShift))
			h = h<<(e3&63) | uint64(uint8(e3>>foldShift))
			all := e0 | e1 | e2 | e3
			digits = digits<<stride | all>>(32-stride)
			flags |= all
			x := h & gramMask * mix
			if s.bits[x>>54]>>(x>>48&63)&1 != 0 {
				hits = s.confirm(hits, first, text, i+j+stride-1, h)
			}
		}
		blocks = append(blocks, Block(digits)|Block(flags&flagBits)<<16)
	}
	if i < len(text) {
		var digits, flags uint32
		for j, c := range text[i:] {
			e := table[0][c]
			h = h<<(e&63) | uint64(uint8(e>>foldShift))
			digits |= e >> 31 << (31 - j)
			flags |= e
			x := h & gramMask * mix
			if s.bits[x>>54]>>(x>>48&63)&1 != 0 {
				hits = s.confirm(hits, first, text, i+j, h)
			}
		}
		blocks = append(blocks, Block(digits)|Block(flags&flagBits)<<16)
	}
	for _, v := range s.short {
		for at := 0; ; {
			n := bytes.Index(text[at:], v.value)
			if n < 0 {
				break
			}
			hits = append(hits, Hit{v.secret, "", at + n, at + n + len(v.value)})
			at += n + len(v.value)
		}
	}
	return hits, blocks
}

// confirm looks whether the squeezed bytes h that end at or before text[at] are from a form.
func (s *Set) confirm(hits []Hit, first int, text []byte, at int, h uint64) []Hit {
	for n := 0; fold(text[at]) == 0; n++ {
		if at--; at < 0 || n == stride {
			return hits // seen when it ended
		}
	}
	h &= gramMask
	for i := s.slotOf(h); s.slots[i] != 0; i = (i + 1) & (len(s.slots) - 1) {
		if s.slots[i].gram() != h {
			continue
		}
		p := &s.patterns[s.slots[i].pattern()]
		split := int(p.anchor) + s.slots[i].nth() + gramSize
		start, before := walk(text, at, -1, p.text[:split])
		end, after := walk(text, at+1, 1, p.text[split:])
		if before+after < int(p.need) {
			continue
		}
		if after == 0 {
			end = at + 1
		}
		if before == split && p.form != "" {
			start = widenLeft(text, start, int(p.edge))
		}
		if after == len(p.text)-split && p.form != "" {
			end = widenRight(text, end, int(p.edge))
		}
		hits = add(hits, first, Hit{int(p.secret), p.form, start, end})
	}
	return hits
}

// gap is the longest run of dropped bytes inside a value: it bounds the work of walk.
const gap = 512

// walk compares want with the squeezed text from at on, forwards or backwards (then from want's
// end), and returns the edge of what agrees and how many bytes that are.
func walk(text []byte, at, step int, want []byte) (edge, n int) {
	edge = at
	if step < 0 {
		edge++
	}
	for dropped := 0; n < len(want) && at >= 0 && at < len(text) && dropped < gap; at += step {
		f := fold(text[at])
		if f == 0 {
			dropped++
			continue
		}
		w := want[n]
		if step < 0 {
			w = want[len(want)-1-n]
		}
		if f != w {
			break
		}
		dropped = 0
		n++
		edge = at
		if step > 0 {
			edge++
		}
	}
	return edge, n
}

// widenLeft takes in what belongs to the first encoded byte: digits that it shares with its
// neighbour, and the escape before it.
func widenLeft(text []byte, start, digits int) int {
	for ; digits > 0 && start > 0 && isDigit(text[start-1]); digits-- {
		start--
	}
	i := start
	if i > 0 && (text[i-1] == 'x' || text[i-1] == 'u') {
		i--
	}
	if i > 0 && text[i-1] == '#' {
		i--
	}
	if i == 0 {
		return start
	}
	switch c := text[i-1]; {
	case c == '%', c == '\\', c == '&', c == '=' && start+2 < len(text) && text[start+2] == '=':
		return i - 1
	}
	return start
}

// widenRight takes in the digits that the last encoded byte shares with its neighbour, and padding.
func widenRight(text []byte, end, digits int) int {
	padded := digits > 0
	for ; digits > 0 && end < len(text) && isDigit(text[end]); digits-- {
		end++
	}
	for n := 0; n < 6 && end < len(text); n++ {
		if c := text[end]; c == ';' || padded && c == '=' {
			end++
			continue
		}
		break
	}
	return end
}

// isDigit reports whether c is a digit of base64 in either alphabet.
func isDigit(c byte) bool {
	return fold(c) != 0 || c == '+' || c == '/' || c == '-' || c == '_'
}

// add appends h, or widens what is there already of the same value at the same place.
func add(hits []Hit, first int, h Hit) []Hit {
	for i := len(hits) - 1; i >= first && i >= len(hits)-8; i-- {
		o := &hits[i]
		if o.Secret == h.Secret && o.Start < h.End && h.Start < o.End {
			o.Start, o.End = min(o.Start, h.Start), max(o.End, h.End)
			return hits
		}
	}
	return append(hits, h)
}
