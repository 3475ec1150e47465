package scan_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"mime/quotedprintable"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// A disguise writes a text so that who looks for its bytes doesn't find them. r decides what it leaves
// open.
type disguise struct {
	name   string
	do     func(r *rapid.T, s string) string
	escape bool // writes escapes
}

// last are disguises that lose the case of letters: nothing can be undone under them.
var last = []disguise{
	{"upper", func(_ *rapid.T, s string) string { return strings.ToUpper(s) }, false},
	{"lower", func(_ *rapid.T, s string) string { return strings.ToLower(s) }, false},
}

var disguises = []disguise{
	{"base64", func(_ *rapid.T, s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }, false},
	{"base64url", func(_ *rapid.T, s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }, false},
	{"base64 unpadded", func(_ *rapid.T, s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }, false},
	{"base64 with neighbours", func(r *rapid.T, s string) string {
		before := rapid.StringMatching(`[a-z ]{1,5}`).Draw(r, "before")
		after := rapid.StringMatching(`[a-z ]{0,5}`).Draw(r, "after")
		return base64.StdEncoding.EncodeToString([]byte(before + s + after))
	}, false},
	{"base64 in lines", func(_ *rapid.T, s string) string {
		return lines(base64.StdEncoding.EncodeToString([]byte(s)), 76, "\r\n")
	}, true},
	{"base64 after a digit", func(_ *rapid.T, s string) string { return "x" + base64.RawStdEncoding.EncodeToString([]byte(s)) }, false},
	{"base32", func(_ *rapid.T, s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) }, false},
	{"base32 lower", func(_ *rapid.T, s string) string {
		return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(s)))
	}, false},
	{"hex", func(_ *rapid.T, s string) string { return hex.EncodeToString([]byte(s)) }, false},
	{"HEX", func(_ *rapid.T, s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }, false},
	{"hex:", func(_ *rapid.T, s string) string { return lines(hex.EncodeToString([]byte(s)), 2, ":") }, true},
	{`\x`, func(_ *rapid.T, s string) string { return eachByte(s, `\x%02x`) }, true},
	{"percent all", func(_ *rapid.T, s string) string { return eachByte(s, "%%%02X") }, true},
	{"percent", func(_ *rapid.T, s string) string { return url.PathEscape(s) }, true},
	{"percent nested", func(r *rapid.T, s string) string {
		s = eachByte(s, "%%%02X")
		for range rapid.IntRange(1, 9).Draw(r, "layers") {
			s = url.PathEscape(s)
		}
		return s
	}, true},
	{`\u`, func(_ *rapid.T, s string) string { return eachByte(s, `\u%04x`) }, true},
	{"&#", func(_ *rapid.T, s string) string { return eachByte(s, "&#%d;") }, true},
	{"&#x", func(_ *rapid.T, s string) string { return eachByte(s, "&#x%X;") }, true},
	{"quoted-printable", func(_ *rapid.T, s string) string {
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		w.Binary = true
		_, _ = w.Write([]byte(s))
		_ = w.Close()
		return b.String()
	}, true},
	{"=XX", func(_ *rapid.T, s string) string { return lines(eachByte(s, "=%02X"), 75, "=\r\n") }, true},
	{"UTF-16LE", func(_ *rapid.T, s string) string { return wide(s, binary.LittleEndian) }, false},
	{"UTF-16BE", func(_ *rapid.T, s string) string { return wide(s, binary.BigEndian) }, false},
	{"rot13", func(_ *rapid.T, s string) string { return rot13(s) }, false},
	{"reversed", func(_ *rapid.T, s string) string {
		b := []rune(s)
		slices.Reverse(b)
		return string(b)
	}, false},
	{"separators", func(r *rapid.T, s string) string {
		sep := rapid.SampledFrom([]string{" ", "-", ".", ", ", "\n", "_", "/", " | "}).Draw(r, "separator")
		return lines(s, rapid.IntRange(1, 4).Draw(r, "every"), sep)
	}, false},
	{"zero-width", func(r *rapid.T, s string) string {
		sep := rapid.SampledFrom([]string{"\u200b", "\u200c", "\u200d", "\u200f", "\ufeff", "\u00ad", "\u2060", "\u2063"}).Draw(r, "invisible")
		return lines(s, rapid.IntRange(1, 9).Draw(r, "every"), sep)
	}, true},
	{"fullwidth", func(_ *rapid.T, s string) string {
		return strings.Map(func(c rune) rune {
			if c > ' ' && c < 0x7F {
				return c - '!' + 0xFF01
			}
			return c
		}, s)
	}, false},
	{"JSON", func(_ *rapid.T, s string) string { return strings.Trim(fmt.Sprintf("%q", s), `"`) }, true},
}

// alone are disguises that are undone, but not under every other.
var alone = []disguise{
	{"octal", func(_ *rapid.T, s string) string { return eachByte(s, `\%03o`) }, true},
	{"decimals", func(_ *rapid.T, s string) string { return eachByte(s, "%d, ") }, false},
	{"0x", func(_ *rapid.T, s string) string { return eachByte(s, "0x%02x, ") }, false},
	{"bold", func(_ *rapid.T, s string) string {
		return strings.Map(func(c rune) rune {
			switch {
			case c >= 'A' && c <= 'Z':
				return c - 'A' + 0x1D400
			case c >= 'a' && c <= 'z':
				return c - 'a' + 0x1D41A
			case c >= '0' && c <= '9':
				return c - '0' + 0x1D7CE
			}
			return c
		}, s)
	}, false},
	{"tags", func(_ *rapid.T, s string) string {
		return strings.Map(func(c rune) rune {
			if c >= ' ' && c < 0x7F {
				return c + 0xE0000
			}
			return c
		}, s)
	}, false},
}

func eachByte(s, verb string) string {
	var b []byte
	for i := range len(s) {
		b = fmt.Appendf(b, verb, s[i])
	}
	return string(b)
}

// lines puts sep after every n characters.
func lines(s string, n int, sep string) string {
	var b strings.Builder
	i := 0
	for _, c := range s {
		if i > 0 && i%n == 0 {
			b.WriteString(sep)
		}
		i++
		b.WriteRune(c)
	}
	return b.String()
}

func wide(s string, order binary.AppendByteOrder) string {
	runes := []rune(s)
	if !utf8.ValidString(s) { // in ISO 8859-1, then: nothing may be lost
		runes = runes[:0]
		for i := range len(s) {
			runes = append(runes, rune(s[i]))
		}
	}
	var b []byte
	for _, u := range utf16.Encode(runes) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

func rot13(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z':
			b[i] = 'a' + (c-'a'+13)%26
		case c >= 'A' && c <= 'Z':
			b[i] = 'A' + (c-'A'+13)%26
		}
	}
	return string(b)
}
