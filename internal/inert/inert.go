// Package inert makes hostile text safe to show. Whatever an agent wrote, a path, a host, a file
// name, goes through Text before an operator's terminal, a log or a denial shows it: nothing in
// the result moves a cursor, reverses a line, hides a character or fakes a second line.
package inert

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultMax is the bound Text uses when it is given none, in bytes.
const DefaultMax = 1024

// maxMarks is how many combining marks may follow each other: real scripts need two or three, more
// is a tower over the neighbouring lines.
const maxMarks = 3

// ellipsis ends a text that was cut.
const ellipsis = "…"

// Text returns s with everything that is not plainly visible replaced by a visible escape: control
// characters, ESC and C1 as \x1b, line ends as \n, bidirectional and zero-width characters as
// \u202e, bytes that are not UTF-8 as \xff. The result has at most max bytes (DefaultMax when max
// is not positive), the last of them "…" when s was cut. Text of Text is the same text.
func Text(s string, max int) string {
	if max <= 0 {
		max = DefaultMax
	}
	if len(s) <= max && plain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(min(len(s)+16, max))
	// kept is the length at which the ellipsis still fits.
	kept, marks := 0, 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
			marks++
		} else {
			marks = 0
		}
		piece := s[i : i+n]
		switch {
		case r == utf8.RuneError && n == 1:
			piece = escapeByte(s[i])
		case marks > maxMarks || !visible(r):
			piece = escapeRune(r)
			marks = 0
		}
		if b.Len()+len(piece) > max {
			cut := b.String()[:kept]
			if max < len(ellipsis) {
				return cut
			}
			return cut + ellipsis
		}
		b.WriteString(piece)
		if b.Len()+len(ellipsis) <= max {
			kept = b.Len()
		}
		i += n
	}
	return b.String()
}

// plain reports whether s is printable ASCII throughout, by far the usual case.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// visible reports whether r shows as itself. unicode.IsPrint leaves out controls, format
// characters, private use and every space but ' '; what it lets through and can't be seen is
// listed here.
func visible(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r >= ' ' && r <= '~'
	case r == 0x034F, // combining grapheme joiner
		r == 0x115F, r == 0x1160, r == 0x3164, r == 0xFFA0, // Hangul fillers
		r == 0x17B4, r == 0x17B5, // Khmer inherent vowels
		r >= 0x180B && r <= 0x180F,   // Mongolian selectors
		r == 0x2800,                  // the empty Braille pattern
		r >= 0xFE00 && r <= 0xFE0F,   // variation selectors
		r >= 0xE0000 && r <= 0xE0FFF, // tags and more selectors
		r == 0xFFFC:                  // object replacement
		return false
	}
	return unicode.IsPrint(r)
}

func escapeByte(c byte) string {
	const hex = "0123456789abcdef"
	return `\x` + string([]byte{hex[c>>4], hex[c&15]})
}

func escapeRune(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x100:
		return escapeByte(byte(r))
	}
	q := strconv.QuoteRuneToASCII(r)
	return q[1 : len(q)-1]
}
