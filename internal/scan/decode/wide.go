package decode

// Wide writes to t the characters of a stretch of UTF-16 that begins at text[i], big- or
// little-endian, and returns where the stretch ends: i where there's none. text[i] must be a high
// byte: 0 for Latin, 0xFF for fullwidth forms, 0x20 for invisible characters, 0xFE for the mark.
func (t *Text) Wide(text []byte, i int, bigEndian bool) int {
	t.reset()
	end := i
	for end < len(text) && isHigh(text[end]) {
		end += 2
	}
	if end < i+2*minWide {
		return i
	}
	at, low := i, 1
	if !bigEndian {
		at, low = i-1, 0
		if i == 0 {
			at = 1 // its low byte is in nobody's hands
		}
	}
	for ; at+1 < len(text) && at < end; at += 2 {
		if r := rune(text[at+1-low])<<8 | rune(text[at+low]); r != 0 && r != 0xAD {
			t.putRune(r, at)
		}
	}
	t.mark(min(at, len(text)))
	return end
}

const minWide = 6

func isHigh(c byte) bool { return c == 0 || c == 0xFF || c == 0x20 || c == 0xFE }
