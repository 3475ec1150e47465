package scan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is what was found.
type Kind uint8

// The kinds of findings.
const (
	Known     Kind = iota // a secret that is held for the bottle
	Canary                // a secret planted to be stolen: nothing innocent sends it
	Shape                 // text in the shape of some credential
	Entropy               // a long random token where there are words: worth a warning
	Exhausted             // so many layers that not all could be looked at: treat it as a secret
)

var kinds = [...]string{"known", "canary", "shape", "entropy", "exhausted"}

// String is the kind's name, as the audit log has it.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return fmt.Sprintf("kind %d", k)
}

// Finding is one thing found, described without giving it away.
type Finding struct {
	Kind Kind
	// Rule is the secret's name or the shape's ID.
	Rule string
	// Start and End are where in the input it stands, in bytes: the disguise and all, so that it
	// can be cut out.
	Start, End int64
	// Via is how it was disguised, outermost first: "base64+hex", "split", "" for not at all.
	Via string
	// Digest tells equal finds apart from different ones: 16 hex digits of SHA-256, salted anew in
	// every Scanner.
	Digest string
	// Excerpt is fit for a log: a shape's first characters and its length, a known secret's name.
	Excerpt string
}

// digest of a value, salted.
func (s *Scanner) digest(v []byte) string {
	h := sha256.New()
	h.Write(s.salt[:])
	h.Write(v)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// excerpt shows at most four characters of a long v, none of one that four would give away.
func excerpt(v []byte) string {
	n, shown := utf8.RuneCount(v), 4
	if n < 16 {
		shown = 0
	}
	var head strings.Builder
	for _, c := range v[:min(shown, len(v))] {
		if c <= ' ' || c >= 0x7F {
			break
		}
		head.WriteByte(c)
	}
	return fmt.Sprintf("%s…(%d characters)", head.String(), n)
}
