package shape

import (
	"bytes"
	"math"
	"sync"
	"unicode/utf8"
)

// placeholder is in every worthless stand-in for a credential that a bottle is given.
const placeholder = "bottle-placeholder-"

const (
	// lineReach is how much of a match's line, before and after it, an allowance may look at.
	lineReach = 512
	// prefixes of credentials are no longer than maxBefore, the random end of a placeholder than maxAfter.
	maxBefore, maxAfter = 20, 64
	// leftOver is how much of a secret must be no part of one of gitleaks' stopwords for all rules for
	// that word not to count.
	leftOver = 20
)

// judge says whether a match is a finding: entropy, then the allowances, as gitleaks applies them.
func (r *rule) judge(text []byte, start, end, from int) (Match, bool) {
	r.compile()
	for start < end && text[start] == '\n' {
		start++
	}
	for end > start && text[end-1] == '\n' {
		end--
	}
	match := text[start:end]
	if from >= 0 {
		from = min(max(from-start, 0), len(match))
	}
	a, b := r.secret(match, from)
	secret := match[a:b]
	m := Match{Rule: r.id, Start: start, End: end, SecretStart: start + a, SecretEnd: start + b, Entropy: entropy(secret)}
	if r.entropy != 0 && m.Entropy <= r.entropy || Placeholder(secret) || r.allowedForAll(secret) {
		return m, false
	}
	for i := range r.allows {
		al := &r.allows[i]
		var line []byte
		if al.target == theLine {
			line = lineOf(text, start, end)
		}
		if al.allows(secret, match, line) {
			return m, false
		}
	}
	return m, true
}

// entropy is Shannon's, in bits a character, as gitleaks counts: characters by their bytes.
func entropy(s []byte) float64 {
	if len(s) == 0 {
		return 0
	}
	var ascii [utf8.RuneSelf]int
	var other map[rune]int
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			ascii[c]++
			i++
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		if other == nil {
			other = map[rune]int{}
		}
		other[r]++
		i += n
	}
	e := 0.0
	add := func(count int) {
		f := float64(count) / float64(len(s))
		e -= f * math.Log2(f)
	}
	for _, n := range ascii {
		if n > 0 {
			add(n)
		}
	}
	for _, n := range other {
		add(n)
	}
	return e
}

// Placeholder reports whether a secret is a bottle's placeholder: a known prefix, the mark, and some
// random characters. A real credential with the mark put into it is none.
func Placeholder(secret []byte) bool {
	i := bytes.Index(secret, []byte(placeholder))
	return i >= 0 && i <= maxBefore && len(secret)-i-len(placeholder) <= maxAfter
}

// lineOf returns the line of a match, as far as an allowance may look.
func lineOf(text []byte, start, end int) []byte {
	a, b := max(0, start-lineReach), min(len(text), end+lineReach)
	if i := bytes.LastIndexByte(text[a:start], '\n'); i >= 0 {
		a += i
	}
	if i := bytes.IndexByte(text[end:b], '\n'); i >= 0 {
		b = end + i
	}
	return text[a:b]
}

// general is gitleaks' allowance for all rules. Its alternation of true, false and null is grouped
// here, and a stopword counts only where it is nearly all of the secret: see the package comment. A
// generic rule's finding may be any text, so there it counts always.
var general = sync.OnceValue(func() *dfa { return anyOf(gitleaksGeneral[:]) })

func (r *rule) allowedForAll(secret []byte) bool {
	for _, w := range gitleaksGeneralWords {
		if holdsFolded(secret, w) && (len(secret)-len(w) < leftOver || isGeneric(r.id)) {
			return true
		}
	}
	return general().finds(secret)
}

func holdsFolded(b []byte, folded string) bool {
	for i := 0; i+len(folded) <= len(b); i++ {
		if sameFolded(b[i:], folded) {
			return true
		}
	}
	return false
}
