package escape

import (
	"unicode"
	"unicode/utf8"
)

// maxChain is how many runes may join one character's cell. Clusters in use have about ten; without a
// bound one cell of an emulator could hold megabytes.
const maxChain = 24

const zwj = 0x200d

// appendRune appends r, which is not ASCII.
func (f *Filter) appendRune(dst []byte, r rune) []byte {
	if r < 0xa0 || bidi(r) { // 8-bit controls, spelled in UTF-8
		return dst
	}
	if f.joiner || extends(r) {
		if f.chain++; f.chain > maxChain {
			return dst
		}
	} else {
		f.chain = 0
	}
	f.joiner = r == zwj
	return utf8.AppendRune(dst, r)
}

// bidi reports whether r overrides or isolates writing direction, by which shown text is made to
// differ from what is there.
func bidi(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// extends reports whether r may join the cell of the rune before it.
func extends(r rune) bool {
	switch {
	case r < 0x300:
		return false
	case r >= 0x1100 && r <= 0x11ff, r >= 0xa960 && r <= 0xa97f, r >= 0xac00 && r <= 0xd7ff:
		// Hangul syllables and their parts chain; a run of whole syllables must not be cut.
		return r < 0xac00 || r > 0xd7a3
	case r == zwj, r == 0x200c, r >= 0x1f3fb && r <= 0x1f3ff, r >= 0xe0000 && r <= 0xe0fff:
		return true
	}
	return unicode.Is(unicode.M, r) || unicode.Is(unicode.Cf, r)
}

// inertTitle returns the printable start of b, at most limit bytes.
func inertTitle(b []byte, limit int) []byte {
	out := make([]byte, 0, min(len(b), limit))
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		b = b[size:]
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			continue // controls, format characters, bidi, private use
		}
		if len(out)+size > limit {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}
