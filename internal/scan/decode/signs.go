package decode

import (
	"encoding/binary"
	"math/bits"
)

// Signs are what begins in a part of a text.
type Signs uint8

// The signs.
const (
	Escaped  Signs = 1 << iota // what Escapes undoes
	Printed                    // what QuotedPrintable undoes
	Reversed                   // what is an escape of either kind only backwards
	Rotated                    // what is one only rotated by 13
)

const longestEscape = 16 // bytes, of one that isn't nested: &ZeroWidthSpace;

// Signs says which of those wanted begin in text[from:to], or, of Escaped and Printed, in the sixteen
// bytes after: what Escapes and QuotedPrintable would say of all these bytes, since either undoes
// something wherever something begins, except in the middle of a row of backslashes, and there it begins
// with the row. It uses t's memory.
func (t *Text) Signs(text []byte, from, to int, wanted Signs) Signs {
	t.reset()
	missing := wanted
	seen := text[:min(len(text), to+longestEscape)]
	i := from
	for ; i+8 <= len(seen); i += 8 {
		if i >= to && missing&(Escaped|Printed) == 0 {
			return wanted &^ missing
		}
		for m := suspects(binary.LittleEndian.Uint64(seen[i:])); m != 0; m &= m - 1 {
			missing &^= t.sign(text, seen, i+bits.TrailingZeros64(m)/8, to, missing)
		}
	}
	for ; i < len(seen); i++ {
		missing &^= t.sign(text, seen, i, to, missing)
	}
	return wanted &^ missing
}

// suspects has the top bit of each byte of w that may be a sign: an escape character, an equals sign, a
// byte beyond ASCII. It may have others.
func suspects(w uint64) uint64 {
	const ones = 0x0101010101010101
	a := w&(ones*0xFC) ^ ones*('%'&0xFC) // & differs in these two bits alone
	b := w ^ ones*'='
	c := w ^ ones*'\\'
	return ((a-ones)&^a | (b-ones)&^b | (c-ones)&^c | w) & (ones * 0x80)
}

// sign is which of those missing begin at text[i].
func (t *Text) sign(text, seen []byte, i, to int, missing Signs) (s Signs) {
	c := text[i]
	switch {
	case c == '=':
		if missing&Printed != 0 {
			if _, n := hexRune(seen, i+1, 2, 2); n > 0 || softBreak(seen, i) > 0 {
				s |= Printed
			}
		}
	case !special[c]:
		return 0
	case missing&Escaped != 0 && t.escape(seen, i) > 0:
		s |= Escaped
	}
	if i >= to || c >= 0x80 {
		return s
	}
	if missing&Reversed != 0 && isReversed(text, i) {
		s |= Reversed
	}
	if missing&Rotated != 0 && isRotated(text, i) {
		s |= Rotated
	}
	return s
}

// Turned finds the first escape in text[from:to] that is one only backwards, or only rotated by 13, and
// returns where its escape character stands; -1 where there's none.
func Turned(text []byte, from, to int, rotated bool) int {
	is := isReversed
	if rotated {
		is = isRotated
	}
	for i := from; i < to; i++ {
		if is(text, i) {
			return i
		}
	}
	return -1
}

// isReversed reports whether text[i] ends an escape written backwards. Of an escaped ASCII character the
// first hex digit is 2 to 7.
func isReversed(text []byte, i int) bool {
	if i < 2 {
		return false
	}
	a, b := text[i-1], text[i-2]
	switch text[i] {
	case '&':
		return a == '#'
	case '\\':
		return (a == 'u' || a == 'x') && isNumber(b)
	case '%':
		return a <= 'F' && b <= 'F' && unhex(a) >= 0 && unhex(b) >= 0 || isNumber(a) && unhex(b) >= 0
	case '=':
		return isNumber(a) && b <= 'F' && unhex(b) >= 0 || a == '\r' || a == '\n'
	}
	return false
}

// isRotated reports whether text[i] begins an escape rotated by 13.
func isRotated(text []byte, i int) bool {
	if i+2 >= len(text) {
		return false
	}
	c, j := text[i], i+1
	for c == '%' && j+4 <= len(text) && text[j] == '2' && text[j+1] == '5' {
		j += 2 // nested
	}
	a, b := text[j], text[j+1]
	switch c {
	case '&':
		return a == '#' && b|0x20 == 'k'
	case '\\':
		return (a == 'h' || a == 'k') && isNumber(b)
	case '%':
		return RotatedHex[a] && RotatedHex[b] && (b > '9' || a > '9') && a <= 'S'
	case '=':
		return isNumber(a) && b >= 'N' && b <= 'S'
	}
	return false
}

func isNumber(c byte) bool { return c >= '0' && c <= '9' }
