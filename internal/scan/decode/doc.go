// Package decode undoes the encodings that hide a text from who looks for its letters in order:
// escapes (percent, \u, \x, octal, HTML entities, nested), quoted-printable, invisible and lookalike
// characters, UTF-16, and base64, base32 and hex found inside other text at any alignment, backwards
// or rotated by 13.
//
// A sender chooses how a text is disguised and a scanner must guess, so nothing here demands a
// well-formed input: whatever could be read as encoded text is offered, and what turns out to be
// noise costs little. Every function is linear in its input and keeps for each byte of its result
// where it came from.
package decode

// MaxText is the longest text the functions take: origins are 16 bits wide.
const MaxText = 1<<16 - 1

// Text is a decoded text. Byte i of it was written by the source from At[i] to before At[i+1]; the
// last entry of At ends the text. Where bytes were left out, the one before them reaches over them.
type Text struct {
	Bytes []byte
	At    []uint16
}

func (t *Text) reset() { t.Bytes, t.At = t.Bytes[:0], t.At[:0] }

func (t *Text) put(c byte, at int) {
	t.Bytes = append(t.Bytes, c)
	t.At = append(t.At, uint16(at))
}

// Source is the span of the source that wrote Bytes[start:end]; start is before end.
func (t *Text) Source(start, end int) (int, int) { return int(t.At[start]), int(t.At[end]) }

// Keep writes to t the bytes of text that are in set. Their sources are single bytes: see Kept.
func (t *Text) Keep(text []byte, set *[256]bool) {
	t.reset()
	for i, c := range text {
		if set[c] {
			t.put(c, i)
		}
	}
}

// Shorten cuts what repeats itself in t every sixteen bytes, or every one, two, four or eight, down to
// the beginning of it. No secret does; the digits of pictures and of memory do, by the megabyte, and
// read as text in many ways.
func (t *Text) Shorten() {
	const period, most = 16, 64
	var last [period]byte
	n, same := 0, 0
	for i, c := range t.Bytes {
		if same++; i < period || last[i%period] != c {
			same = 0
		}
		last[i%period] = c
		if same > most {
			continue
		}
		if n < i {
			t.Bytes[n], t.At[n] = c, t.At[i]
		}
		n++
	}
	t.Bytes, t.At = t.Bytes[:n], t.At[:n]
}

// Kept is the span of the source of Bytes[start:end] after Keep; start is before end.
func (t *Text) Kept(start, end int) (int, int) { return int(t.At[start]), int(t.At[end-1]) + 1 }

func set(members string) *[256]bool {
	var t [256]bool
	for i := range len(members) {
		t[members[i]] = true
	}
	return &t
}

// Sets of bytes for Keep.
var (
	Alphanumeric = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
	Base64Digits = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
	HexDigits    = set("0123456789abcdefABCDEF")
	RotatedHex   = set("0123456789nopqrsNOPQRS")
)
