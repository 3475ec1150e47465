package decode

import "unicode/utf8"

// putRune writes the escaped r as what a reader takes it for: lookalikes as ASCII, invisible
// characters not at all. Characters up to U+00FF are written as one byte, since whoever escapes bytes
// one by one writes those; nothing here looks for them otherwise.
func (t *Text) putRune(r rune, at int) {
	if r > 0xFF {
		r, _ = look(r)
	}
	switch {
	case r == 0:
	case r <= 0xFF:
		t.put(byte(r), at)
	default:
		var b [utf8.UTFMax]byte
		for _, c := range b[:utf8.EncodeRune(b[:], r)] {
			t.put(c, at)
		}
	}
}

// look is the ASCII character that r looks like (fullwidth forms, mathematical alphanumerics) or
// hides (tags), 0 where r can't be seen, and r itself otherwise. Unicode 16, blocks Halfwidth and
// Fullwidth Forms, Mathematical Alphanumeric Symbols, Tags; format characters of General Punctuation.
func look(r rune) (rune, bool) {
	switch {
	case r < 0xAD:
		return r, false
	case r >= 0xFF01 && r <= 0xFF5E:
		return r - 0xFF01 + '!', true
	case r == 0xAD, r == 0x34F, r == 0x61C, r == 0x180E, r == 0xFEFF,
		r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x206F,
		r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0100 && r <= 0xE01EF:
		return 0, true
	case r >= 0xE0000 && r <= 0xE007F:
		if c := r - 0xE0000; c >= ' ' && c < 0x7F {
			return c, true
		}
		return 0, true
	case r >= 0x1D400 && r < 0x1D6A4:
		if n := (r - 0x1D400) % 52; n < 26 {
			return 'A' + n, true
		} else {
			return 'a' + n - 26, true
		}
	case r >= 0x1D7CE && r < 0x1D800:
		return '0' + (r-0x1D7CE)%10, true
	}
	return r, false
}
