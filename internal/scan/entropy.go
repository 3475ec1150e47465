package scan

import "bytes"

// entropyText is the longest text, in bytes, in which random tokens are pointed out.
const entropyText = 1 << 10

// Entropic reports whether b is a long random token: at least 24 bytes, drawn from an alphabet of
// letters and digits so evenly that no word, UUID, number or hash of git does it. It's a hint: a
// random token is seldom more than a cache key.
func Entropic(b []byte) bool {
	if len(b) < 24 || len(b) > 256 {
		return false
	}
	if bytes.HasPrefix(b, []byte("sha512-")) || bytes.HasPrefix(b, []byte("sha384-")) || bytes.HasPrefix(b, []byte("sha256-")) {
		return false // what a file must hash to: W3C Subresource Integrity
	}
	var counts [128]uint8
	var upper, lower, numbers, letters16, dashes int
	changes, class := 0, 0
	for _, c := range b {
		now := 0
		switch {
		case c >= '0' && c <= '9':
			numbers++
			now = 1
		case c >= 'a' && c <= 'z':
			lower++
			now = 2
		case c >= 'A' && c <= 'Z':
			upper++
			now = 3
		case c == '-' || c == '_' || c == '+' || c == '/' || c == '=':
			dashes++
		default:
			return false
		}
		if c|0x20 >= 'a' && c|0x20 <= 'f' {
			letters16++
		}
		if now != 0 && now != class {
			changes++
			class = now
		}
		counts[c]++
	}
	if hex := numbers + letters16; hex+dashes == len(b) && (upper == 0 || lower == 0) {
		switch {
		case hex == 32 && dashes == 4, hex == 32, hex == 40, hex == 64: // UUID, MD5, git's two hashes
			return false
		}
	}
	// Random text changes between capitals, small letters and numbers at three characters of five;
	// words, joined in whatever case, at fewer than two.
	return numbers >= 2 && changes*5 >= 2*len(b) && even(counts[:], len(b))
}

// even reports whether of the n counted bytes few are the same: whether the chance that two of them
// are is under one in eleven. In random hex it's one in sixteen, in English one in fifteen, but English
// has not the changes.
func even(counts []uint8, n int) bool {
	equal := 0
	for _, c := range counts {
		equal += int(c) * (int(c) - 1)
	}
	return equal*11 < n*(n-1)
}

// random reports the random tokens of a short text.
func (w *worker) random(text []byte) {
	for from := 0; from < len(text); {
		n := bytes.IndexFunc(text[from:], func(r rune) bool { return r == '.' || r == '/' || r == '?' || r == '&' || r == ' ' || r == ':' })
		if n < 0 {
			n = len(text) - from
		}
		if token := text[from : from+n]; Entropic(token) && !w.within(int64(from), int64(from+n)) {
			w.add(Finding{Kind: Entropy, Rule: "entropy", Start: int64(from), End: int64(from + n), Digest: w.s.digest(token), Excerpt: excerpt(token)})
		}
		from += n + 1
	}
}

// within reports whether a finding says more about [start,end) already.
func (w *worker) within(start, end int64) bool {
	for _, f := range w.found[w.first:] {
		if f.Start < end && start < f.End {
			return true
		}
	}
	return false
}
