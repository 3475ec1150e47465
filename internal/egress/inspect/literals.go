package inspect

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// literals are the spellings an upstream may send a credential back in.
type literals [][]byte

// minLiteral is what a spelling must have to be looked for: a shorter one would be found by chance.
const minLiteral = 8

func newLiterals(values ...secret.Value) literals {
	var out literals
	add := func(form string) {
		if len(form) >= minLiteral && !slices.ContainsFunc(out, func(l []byte) bool { return string(l) == form }) {
			out = append(out, []byte(form))
		}
	}
	for _, v := range values {
		raw := v.Reveal()
		quoted, _ := json.Marshal(raw) // strings always marshal
		for _, form := range []string{
			raw, strings.Trim(string(quoted), `"`), strings.ReplaceAll(raw, "/", `\/`), url.PathEscape(raw), url.QueryEscape(raw),
			hex.EncodeToString([]byte(raw)), strings.ToUpper(hex.EncodeToString([]byte(raw))),
		} {
			add(form)
		}
		for shift := range 3 { // of the credential in what was encoded, as after "Bearer "
			for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				add(middle(e, raw, shift))
			}
		}
	}
	return out
}

// middle is what base64 makes of raw behind shift bytes, without the characters at both ends that
// hang on its neighbours.
func middle(e *base64.Encoding, raw string, shift int) string {
	text := e.EncodeToString([]byte(strings.Repeat("\x00", shift) + raw))
	from := (shift*8 + 5) / 6
	to := (shift + len(raw)) * 8 / 6
	return text[min(from, to):to]
}

// mask overwrites every literal in b and reports how many bytes at its end may be the beginning of
// one.
func (l literals) mask(b []byte) (held int, found bool) {
	for _, lit := range l {
		for from := 0; ; {
			i := bytes.Index(b[from:], lit)
			if i < 0 {
				break
			}
			found = true
			span := b[from+i : from+i+len(lit)]
			copy(span, bytes.Repeat([]byte{'*'}, len(span)))
			from += i + len(lit)
		}
		held = max(held, begun(b, lit))
	}
	return held, found
}

// begun is the length of the longest end of b that lit begins with, all of lit excepted.
func begun(b, lit []byte) int {
	tail := b[max(0, len(b)-len(lit)+1):]
	for {
		i := bytes.IndexByte(tail, lit[0])
		if i < 0 {
			return 0
		}
		if tail = tail[i:]; bytes.HasPrefix(lit, tail) {
			return len(tail)
		}
		tail = tail[1:]
	}
}
