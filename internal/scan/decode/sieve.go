package decode

import "sync"

// pairsTable says of two digits of base64 in a row, as index, where in a group of four the first may
// stand so that the bytes they make are plausible: bit 0 for the first place, and so on. The high
// four bits say the same of the two digits read backwards. It is made when it is first needed: most
// processes of this program never scan.
var pairsTable = sync.OnceValue(func() *[1 << 12]byte {
	var t [1 << 12]byte
	for x := range byte(64) {
		for y := range byte(64) {
			for role := range 4 {
				if readable(role, x, y) {
					t[int(x)<<6|int(y)] |= 1 << role
					t[int(y)<<6|int(x)] |= 16 << role
				}
			}
		}
	}
	return &t
})

// readable reports whether the digits x and y, x being the role'th of its group, agree with a text:
// each byte that has bits in them could be plausible, and follow the one before.
func readable(role int, x, y byte) bool {
	bits := uint(x)<<6 | uint(y)
	switch role {
	case 0: // aaaaaa aabbbb
		return someFollows(byte(bits>>4), byte(bits>>4), byte(bits<<4), byte(bits<<4)|0x0F)
	case 1: // aabbbb bbbbcc
		b := byte(bits >> 2)
		return plausible[b] != notPlausible && someFollows(b, b, byte(bits<<6), byte(bits<<6)|0x3F)
	case 2: // bbbbcc cccccc
		b := byte(bits)
		for high := range byte(16) {
			if follows(high<<4|byte(bits>>8)&0x0F, b) {
				return true
			}
		}
		return false
	default: // cccccc aaaaaa
		for high := range byte(4) {
			if someFollows(high<<6|x, high<<6|x, y<<2, y<<2|3) {
				return true
			}
		}
		return false
	}
}

// someFollows reports whether some byte of [c,d] may follow some plausible byte of [a,b].
func someFollows(a, b, c, d byte) bool {
	for x := int(a); x <= int(b); x++ {
		if plausible[x] == notPlausible {
			continue
		}
		for y := int(c); y <= int(d); y++ {
			if follows(byte(x), byte(y)) {
				return true
			}
		}
	}
	return false
}

// lanes spreads a byte of pairsTable over eight bytes, each all ones or all zeros: one for each place of
// an index modulo 4 at which a group may begin, then the same backwards, where that's the place of the
// group's first digit in reading order. The first digit of the pair has the index [i] modulo 4.
var lanes = func() (t [4][256]uint64) {
	for i := range 4 {
		for pair := range 256 {
			for role := range 4 {
				if pair>>role&1 == 1 {
					t[i][pair] |= 0xFF << (8 * ((i - role) & 3))
				}
				if pair>>(4+role)&1 == 1 {
					t[i][pair] |= 0xFF << (32 + 8*((i+1+role)&3))
				}
			}
		}
	}
	return t
}()

// both6 has a digit's value in both of digits6, in the low and in the high half.
var both6 = func() (t [256]uint32) {
	for c := range t {
		t[c] = uint32(digits6[1][c]&63)<<16 | uint32(digits6[0][c]&63)
	}
	return t
}()

// Base64 appends the stretches of text that read as base64 of at least least bytes of text, in any
// alignment, forwards and backwards, rotated or not; text has only digits of base64.
//
// That makes sixteen ways to read it, and random digits (an image) must cost little. So nothing is
// decoded to find out. Two digits that follow each other hold one byte and parts of another; for each
// way of reading a counter holds for how many pairs in a row these were plausible. Eight counters share
// a word.
func Base64(dst []Stretch, text []byte, least int) []Stretch {
	if len(text) < 2 {
		return dst
	}
	pairs := pairsTable()
	row, enough := 8, uint64(0x0808080808080808) // pairs in a row to look closer at
	if least >= 16 {
		row, enough = 16, 0x1010101010101010
	}
	const one = 0x0101010101010101
	var counts [2]uint64   // by rotation
	var until [16]int      // by way of reading: where the last stretch ends
	last := both6[text[0]] // two digits, by rotation
	for i := 1; i < len(text); i++ {
		last = last<<6&0x0FC0_0FC0 | both6[text[i]]
		mask := &lanes[(i-1)&3]
		counts[0] = (counts[0] + one) & mask[pairs[last&0xFFF]]
		counts[1] = (counts[1] + one) & mask[pairs[last>>16&0xFFF]]
		if (counts[0]|counts[1])&enough == 0 {
			continue
		}
		for way := range 4 {
			turned, reversed := way>>1, way&1 == 1
			for role := range 4 {
				place := (i - 1 - role) & 3
				lane := place
				if reversed {
					place = (i + role) & 3
					lane = 4 + place
				}
				if counts[turned]>>(8*lane)&enough&0xFF == 0 {
					continue
				}
				counts[turned] &^= 0xFF << (8 * lane)
				if end := &until[way<<2|place]; i > *end {
					s := Stretch{Width: 6, From: i - row, Reversed: reversed, Rotated: turned == 1}
					*end = extend(text, i, role, &digits6[turned], reversed)
					s.To = *end + 1
					s.align(place, len(text))
					if (s.To-s.From)*3/4 >= least {
						dst = append(dst, s)
					}
				}
			}
		}
	}
	return dst
}

// extend returns the last digit of the plausible row that has the pair that ends at text[i], where
// role is the place in its group of the pair's first digit in reading order.
func extend(text []byte, i, role int, value *[256]byte, reversed bool) int {
	pairs := pairsTable()
	for i+1 < len(text) {
		x, y := value[text[i]]&63, value[text[i+1]]&63
		pair := pairs[uint(x)<<6|uint(y)]
		if reversed {
			role, pair = (role+3)&3, pair>>4
		} else {
			role = (role + 1) & 3
		}
		if pair>>role&1 == 0 {
			break
		}
		i++
	}
	return i
}

// align widens the stretch so that reading begins with a group: at an index that is place modulo 4.
// Where text has no room for that, it's narrowed.
func (s *Stretch) align(place, size int) {
	if s.Reversed {
		last := s.To - 1
		last += (place - last) & 3
		if last >= size {
			last -= 4
		}
		s.To = last + 1
		s.From = max(0, s.From-2)
		return
	}
	s.From -= (s.From - place) & 3
	if s.From < 0 {
		s.From += 4
	}
	s.To = min(size, s.To+2)
}
