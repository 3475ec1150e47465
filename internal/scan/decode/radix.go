package decode

import (
	"math/bits"
	"slices"
)

// Stretch is a row of digits that reads as text once decoded.
type Stretch struct {
	Width    int // bits a digit: 4, 5 or 6
	From, To int // the digits, of what was searched
	Reversed bool
	Rotated  bool // by 13
}

// Name is "base64", "rot13+reversed+hex", ...: what to undo, outermost first.
func (s Stretch) Name() string {
	name := map[int]string{4: "hex", 5: "base32", 6: "base64"}[s.Width]
	if s.Reversed {
		name = "reversed+" + name
	}
	if s.Rotated {
		name = "rot13+" + name
	}
	return name
}

// digits holds each alphabet's values, none where a byte is no digit; [1] is the alphabet rotated.
type digits [2][256]byte

const none = 0xFF

func alphabet(s string, also ...string) *digits {
	var d digits
	for i := range d {
		d[i] = [256]byte(slices.Repeat([]byte{none}, 256))
	}
	for _, s := range append(also, s) {
		for i := range len(s) {
			c := s[i]
			d[0][c] = byte(i)
			d[1][rotated[c]] = byte(i)
		}
	}
	return &d
}

// RFC 4648 4 and 5; 6; 8.
var (
	digits6 = alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
	digits5 = alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "abcdefghijklmnopqrstuvwxyz234567")
	digits4 = alphabet("0123456789abcdef", "0123456789ABCDEF")
)

func (s Stretch) digits() *[256]byte {
	turned := 0
	if s.Rotated {
		turned = 1
	}
	switch s.Width {
	case 4:
		return &digits4[turned]
	case 5:
		return &digits5[turned]
	}
	return &digits6[turned]
}

// Append appends the stretch of text, decoded, to dst.
func (s Stretch) Append(dst, text []byte) []byte {
	value, acc, have := s.digits(), uint(0), 0
	at, step := s.From, 1
	if s.Reversed {
		at, step = s.To-1, -1
	}
	for range s.To - s.From {
		acc = acc<<s.Width | uint(value[text[at]])
		if have += s.Width; have >= 8 {
			have -= 8
			dst = append(dst, byte(acc>>have))
		}
		at += step
	}
	return dst
}

// Source is the span of digits that bytes [start,end) of the decoded stretch were read from.
func (s Stretch) Source(start, end int) (from, to int) {
	from, to = start*8/s.Width, min((end*8+s.Width-1)/s.Width, s.To-s.From)
	if s.Reversed {
		return s.To - to, s.To - from
	}
	return s.From + from, s.From + to
}

// Scratch is memory that Hex and Base32 use; the zero value is ready.
type Scratch struct{ buf []byte }

// sparse is how many digits of hex have one number among them at least.
const sparse = 16

// FewestNumbers is how many numbers a text must have for Hex to find anything in it.
func FewestNumbers(least int) int { return (2*least + sparse - 1) / sparse }

// Hex appends the stretches of text that read as hex of at least least bytes of text.
func (x *Scratch) Hex(dst []Stretch, text []byte, least int) []Stretch {
	for turned := range 2 {
		for from, to := next(text, 0, 2*least, &class4, 1<<turned); from < to; from, to = next(text, to, 2*least, &class4, 1<<turned) {
			// Of each character of a text the first digit is a number; of a fullwidth letter one digit
			// in six may be. Words have none, and what has no letters is the same rotated.
			n := numbers(text[from:to])
			if sparse*n >= to-from && (turned == 0 || n < to-from) {
				dst = x.read(dst, text, Stretch{Width: 4, From: from, To: to, Rotated: turned == 1}, 2, least)
			}
		}
	}
	return dst
}

// Base32 appends the stretches of text, in one case, that read as base32 of at least least bytes.
func (x *Scratch) Base32(dst []Stretch, text []byte, least int) []Stretch {
	shortest := (least*8 + 4) / 5
	for letters := range 2 {
		for from, to := next(text, 0, shortest, &class5, 1<<letters); from < to; from, to = next(text, to, shortest, &class5, 1<<letters) {
			// Words are in one case too: what has few numbers must pass a quicker look.
			if 32*numbers(text[from:to]) < to-from && !ascii32(text[from:to]) {
				continue
			}
			for _, turned := range []bool{false, true} {
				dst = x.read(dst, text, Stretch{Width: 5, From: from, To: to, Rotated: turned}, 8, least)
			}
		}
	}
	return dst
}

func numbers(text []byte) (n int) {
	for _, c := range text {
		if isNumber(c) {
			n++
		}
	}
	return n
}

// class4 says whether a byte is a digit of hex, bit 0, and of rotated hex, bit 1; class5 whether it is
// one of base32 in capitals, bit 0, and in small letters, bit 1.
var class4, class5 = func() (four, five [256]byte) {
	for c := range 256 {
		for turned := range 2 {
			if digits4[turned][c] != none {
				four[c] |= 1 << turned
			}
		}
		switch {
		case digits5[0][c] == none:
		case c < 'A':
			five[c] = 3
		case c < 'a':
			five[c] = 1
		default:
			five[c] = 2
		}
	}
	return four, five
}()

// next is the next row of at least least bytes of the class, from text[i] on; an empty one at the end
// where there's none. It looks at few bytes between rows: of the bytes that a row must have it tries
// the last first.
func next(text []byte, i, least int, classes *[256]byte, class byte) (from, to int) {
	for i+least <= len(text) {
		j := i + least - 1
		for j >= i && classes[text[j]]&class != 0 {
			j--
		}
		if j >= i {
			i = j + 1
			continue
		}
		to = i + least
		for to < len(text) && classes[text[to]]&class != 0 {
			to++
		}
		return i, to
	}
	return len(text), len(text)
}

// ascii32 reports whether some sixteen digits of base32 in a row could be ASCII, read in any of the
// ways: the bytes' top bits stand in five of a group's eight digits. A counter for each alignment, as
// in Base64.
func ascii32(text []byte) bool {
	const one, enough = 0x0101010101010101, 0x1010101010101010
	var ahead, back [2]uint64
	for _, c := range text {
		for turned := range 2 {
			m := spread8[tops[digits5[turned][c]&31]]
			ahead[turned] = (bits.RotateLeft64(ahead[turned], 8) + one) & m
			back[turned] = (bits.RotateLeft64(back[turned], -8) + one) & m
		}
		if (ahead[0]|ahead[1]|back[0]|back[1])&enough != 0 {
			return true
		}
	}
	return false
}

// tops says of a digit of base32 at which of the eight places it has no top bit of a byte.
var tops = func() (t [32]byte) {
	top := [8]byte{0: 16, 1: 2, 3: 8, 4: 1, 6: 4}
	for v := range t {
		for place, bit := range top {
			if byte(v)&bit == 0 {
				t[v] |= 1 << place
			}
		}
	}
	return t
}()

// spread8 turns eight bits into eight bytes, each all ones or all zeros.
var spread8 = func() (t [256]uint64) {
	for i := range t {
		for bit := range 8 {
			if i>>bit&1 == 1 {
				t[i] |= 0xFF << (8 * bit)
			}
		}
	}
	return t
}()

// read decodes the digits of all at every alignment, forwards and backwards, and appends what of it
// is plausible.
func (x *Scratch) read(dst []Stretch, text []byte, all Stretch, alignments, least int) []Stretch {
	for i := range 2 * alignments {
		s := all
		s.Reversed = i&1 == 1
		if s.Reversed {
			s.To -= i / 2
		} else {
			s.From += i / 2
		}
		if !s.mayBeText(text, least) {
			continue
		}
		x.buf = s.Append(x.buf[:0], text)
		rows(x.buf, least, func(from, to int) {
			group := 1
			if s.Width == 5 {
				group = 5
			}
			part := s
			part.From, part.To = s.Source(from/group*group, to)
			dst = append(dst, part)
		})
	}
	return dst
}

// mayBeText reports whether the stretch, of hex or base32, may decode to least plausible bytes in a row.
// Of the bytes that such a row must have it decodes the last first, so that it decodes few where there
// is none.
func (s Stretch) mayBeText(text []byte, least int) bool {
	value, width, digits := s.digits(), s.Width, s.To-s.From
	first, step := s.From, 1
	if s.Reversed {
		first, step = s.To-1, -1
	}
	size := digits * width / 8
	for i := 0; i+least <= size; {
		j := i + least - 1
		after := byte(0xFF) // what may follow is known by its bit: at first anything
		for ; j >= i; j-- {
			k := 2 * j
			if width == 5 {
				k = j * 8 / 5
			}
			at := first + k*step
			acc := uint(value[text[at]])<<width | uint(value[text[at+step]])
			shift := 2*width - 8 - (j*8 - k*width)
			if shift < 0 { // a third digit has the rest
				acc = acc<<width | uint(value[text[at+2*step]])
				shift += width
			}
			sort := plausible[byte(acc>>shift)] & 7
			if followers[sort]&after == 0 {
				break
			}
			after = 1 << sort
		}
		if j < i {
			return true
		}
		i = j + 1
	}
	return false
}

// Trim ends the stretch at the first byte of text that is no digit of it, and reports whether
// anything is left.
func (s *Stretch) Trim(text []byte) bool {
	value := s.digits()
	for i := s.From; i < s.To; i++ {
		if value[text[i]] == none {
			s.To = i
			break
		}
	}
	return s.To > s.From
}
