package shape

import (
	"encoding/binary"
	"math/bits"
)

// literals finds every place of every one of many short strings, whatever the case of their ASCII
// letters, in one pass. Each string is looked for by its rarest three bytes: a bit per hash of
// three folded bytes says "none starts here" for nearly every position of ordinary text, and 4 KB of
// bits stay in the first-level cache. What the bits let through is compared byte by byte.
type literals struct {
	bits    [hashes / 64]uint64
	first   []uint16 // by the hash's low bits: 1 + index of the first entry, 0 none
	entries []entry
}

type entry struct {
	text   string // folded, at least 3 bytes
	anchor int    // where its three bytes are
	next   uint16 // 1 + index of the next entry of the same first
	uses   []use
}

// use is one rule's interest in a string.
type use struct {
	rule int32
	as   role
}

type role uint8

const (
	begins role = iota // a match begins at the string
	within             // a match has the string somewhere inside
	opens              // the rule counts only where the string is in the text
)

const (
	hashBits = 15
	hashes   = 1 << hashBits
	heads    = 1 << 10
)

// hash3 is of the three low bytes of x. Setting a bit folds the letters; that it folds a few other
// bytes too only costs a comparison.
func hash3(x uint32) uint32 {
	return ((x | 0x202020) << 8) * 0x9E3779B1 >> (32 - hashBits)
}

// add puts a folded string of at least three bytes in.
func (l *literals) add(text string, anchor int, u use) {
	if l.first == nil {
		l.first = make([]uint16, heads)
	}
	b := []byte(text[anchor : anchor+3])
	h := hash3(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16)
	head := h % heads
	for i := l.first[head]; i != 0; i = l.entries[i-1].next {
		if e := &l.entries[i-1]; e.text == text && e.anchor == anchor {
			e.uses = append(e.uses, u)
			return
		}
	}
	l.entries = append(l.entries, entry{text: text, anchor: anchor, next: l.first[head], uses: []use{u}})
	l.first[head] = uint16(len(l.entries))
	l.bits[h/64] |= 1 << (h % 64)
}

// scan calls found for each place of each string, in the order of the places of their three bytes.
// found returns false to end the scan.
func (l *literals) scan(text []byte, found func(e *entry, start int) bool) {
	i := 0
	for ; i+8 <= len(text); i += 6 {
		x := binary.LittleEndian.Uint64(text[i:])
		m := l.bit(uint32(x)) |
			l.bit(uint32(x>>8))<<1 |
			l.bit(uint32(x>>16))<<2 |
			l.bit(uint32(x>>24))<<3 |
			l.bit(uint32(x>>32))<<4 |
			l.bit(uint32(x>>40))<<5
		for ; m != 0; m &= m - 1 {
			k := bits.TrailingZeros64(m)
			if !l.look(text, i+k, hash3(uint32(x>>(8*k))), found) {
				return
			}
		}
	}
	for ; i+3 <= len(text); i++ {
		h := hash3(uint32(text[i]) | uint32(text[i+1])<<8 | uint32(text[i+2])<<16)
		if l.bits[h/64]>>(h%64)&1 != 0 && !l.look(text, i, h, found) {
			return
		}
	}
}

func (l *literals) bit(x uint32) uint64 {
	h := hash3(x)
	return l.bits[h/64%uint32(len(l.bits))] >> (h % 64) & 1
}

// look compares the strings whose three bytes may be at i.
func (l *literals) look(text []byte, i int, h uint32, found func(e *entry, start int) bool) bool {
	for n := l.first[h%heads]; n != 0; {
		e := &l.entries[n-1]
		n = e.next
		start := i - e.anchor
		if start < 0 || len(text)-start < len(e.text) || !sameFolded(text[start:], e.text) {
			continue
		}
		if !found(e, start) {
			return false
		}
	}
	return true
}

// sameFolded reports whether text begins with the folded string.
func sameFolded(text []byte, folded string) bool {
	text = text[:len(folded)]
	for i := 0; i < len(folded); i++ {
		if fold(text[i]) != folded[i] {
			return false
		}
	}
	return true
}

// fold lowers an ASCII letter.
func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// rarest returns the place of the three bytes of a folded string that ordinary text holds least.
func rarest(s string) int {
	best, at := -1, 0
	for i := 0; i+3 <= len(s); i++ {
		if r := rarity(s[i]) + rarity(s[i+1]) + rarity(s[i+2]); r > best {
			best, at = r, i
		}
	}
	return at
}

// byFrequency is English's letters, the commonest first, which code and JSON share.
const byFrequency = "etaoinsrhldcumfpgwybvkxjqz"

func rarity(c byte) int {
	for i := range len(byFrequency) {
		if byFrequency[i] == c {
			return i
		}
	}
	return 20 // digits and marks
}
