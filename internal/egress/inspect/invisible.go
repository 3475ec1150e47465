package inspect

import "unicode/utf8"

// reveal makes visible, in place and in as many bytes, what a reader of the text would not see and a
// model would: Unicode's tag characters, zero-width spaces, overrides of the writing direction, and
// the escape character of terminals. The joiners that scripts and emoji need stay. It reports how
// many there were, and how many bytes at the end may be the beginning of one.
func reveal(b []byte) (count, held int) {
	for i := 0; i < len(b); {
		switch lead := b[i]; {
		case lead == 0x1b:
			b[i] = '?'
			count++
			i++
		case lead != 0xe2 && lead != 0xef && lead != 0xf3: // no range below begins otherwise
			i++
		case !utf8.FullRune(b[i:]):
			return count, len(b) - i
		default:
			r, size := utf8.DecodeRune(b[i:])
			if invisible(r) {
				copy(b[i:], "\uFFFD")
				if size == 4 {
					b[i+3] = ' '
				}
				count++
			}
			i += size
		}
	}
	return count, 0
}

func invisible(r rune) bool {
	switch {
	case r == 0x200b, r == 0xfeff,
		r >= 0x202a && r <= 0x202e, // direction embeddings and overrides
		r >= 0x2060 && r <= 0x206f, // word joiner, invisible operators, direction isolates
		r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}
