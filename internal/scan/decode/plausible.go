package decode

// A byte is plausible where it may be part of a text that hides something: printable ASCII and white
// space; NUL and what UTF-16 has beside it; UTF-8 of invisible and lookalike characters. Of random
// bytes half are, so that it takes a row of them to mean anything.
const (
	notPlausible = iota
	single       // stands by itself
	lead         // begins a character of several bytes
	trail        // continues one
	low          // the low byte of a fullwidth form in UTF-16: stands beside 0xFF alone
	nul          // single, but not twice, as in memory and in pictures
	ones         // 0xFF: single
	hyphen       // 0xAD: trail, or with 0 a soft hyphen in UTF-16
)

var plausible = func() (t [256]byte) {
	for c := ' '; c < 0x7F; c++ {
		t[c] = single
	}
	for c := 0x01; c < ' '; c++ {
		t[c] = low
	}
	for _, c := range "\t\n\r\x0B\x0C\x0E\x0F" { // 0B-0F: the low bytes of U+200B..200F
		t[c] = single
	}
	t[0xFE] = single
	for c := 0x80; c < 0xC0; c++ {
		t[c] = trail
	}
	for _, c := range []byte{0xC2, 0xCD, 0xD8, 0xE1, 0xE2, 0xEF, 0xF0, 0xF3} {
		t[c] = lead
	}
	t[0], t[0xFF], t[0xAD] = nul, ones, hyphen
	return t
}()

// followers says of each sort of byte, by bits, which may stand after it.
var followers = [8]byte{
	single: begins,
	lead:   1<<trail | 1<<hyphen,
	trail:  begins | 1<<trail | 1<<hyphen,
	low:    1 << ones,
	nul:    begins&^(1<<nul) | 1<<hyphen,
	ones:   begins | 1<<low,
	hyphen: begins | 1<<trail | 1<<hyphen,
}

// begins are the sorts of bytes that begin a character, by bits.
const begins = 1<<single | 1<<lead | 1<<nul | 1<<ones

// follows reports whether b may stand after a.
func follows(a, b byte) bool { return followers[plausible[a]&7]>>(plausible[b]&7)&1 != 0 }

// rows calls yield for each stretch of at least least plausible bytes of b.
func rows(b []byte, least int, yield func(from, to int)) {
	for i := 0; i < len(b); {
		if (begins|1<<low)>>plausible[b[i]]&1 == 0 {
			i++
			continue
		}
		j := i + 1
		for j < len(b) && follows(b[j-1], b[j]) {
			j++
		}
		if j-i >= least {
			yield(i, j)
		}
		i = j
	}
}

// Readable reports whether b has a stretch of at least least plausible bytes.
func Readable(b []byte, least int) bool {
	n := 0
	for i, c := range b {
		if i > 0 && n > 0 && follows(b[i-1], c) {
			n++
		} else if begins>>plausible[c]&1 != 0 {
			n = 1
		} else {
			n = 0
		}
		if n >= least {
			return true
		}
	}
	return false
}
