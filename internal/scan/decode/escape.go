package decode

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Escapes writes text to t with its escapes undone and its invisible and lookalike characters
// replaced, and reports whether there were any. An escape whose escape character is escaped itself
// (%2541, \\u0041, &amp;#65;) is undone wholly; one written out of escapes takes another call.
func (t *Text) Escapes(text []byte) bool {
	t.reset()
	changed := false
	for i := 0; i < len(text); {
		from := i
		i = nextSpecial(text, i)
		if t.copy(text, from, i); i == len(text) {
			break
		}
		if n := t.escape(text, i); n > 0 {
			changed = true
			i += n
			continue
		}
		c := text[i]
		t.put(c, i)
		for i++; c == '\\' && i < len(text) && text[i] == c; i++ {
			t.put(c, i)
		}
	}
	t.mark(len(text))
	return changed
}

// nextSpecial is the index of the first special byte of text[i:], or the length of text.
func nextSpecial(text []byte, i int) int {
	for i+8 <= len(text) {
		m := suspects(binary.LittleEndian.Uint64(text[i:]))
		if m == 0 {
			i += 8
			continue
		}
		if i += bits.TrailingZeros64(m) / 8; special[text[i]] {
			return i
		}
		i++
	}
	for i < len(text) && !special[text[i]] {
		i++
	}
	return i
}

var special = [256]bool{'%': true, '\\': true, '&': true, 0xC2: true, 0xCD: true, 0xD8: true, 0xE1: true, 0xE2: true, 0xEF: true, 0xF0: true, 0xF3: true}

// escape undoes the escape or the character at text[i], which is special, and returns its length, 0
// where there's nothing to undo.
func (t *Text) escape(text []byte, i int) int {
	switch text[i] {
	case '%':
		return t.percent(text, i)
	case '\\':
		return t.backslash(text, i)
	case '&':
		return t.entity(text, i)
	}
	r, size := utf8.DecodeRune(text[i:])
	plain, is := look(r)
	if !is {
		return 0
	}
	t.putRune(plain, i)
	return size
}

// percent undoes the escape at text[i] (RFC 3986 2.1, and %uXXXX of old browsers) and returns its
// length, 0 where there is none.
func (t *Text) percent(text []byte, i int) int {
	j := i + 1
	for j+4 <= len(text) && text[j] == '2' && text[j+1] == '5' && unhex(text[j+2]) >= 0 && unhex(text[j+3]) >= 0 {
		j += 2
	}
	if j < len(text) && text[j]|0x20 == 'u' {
		if r, n := hexRune(text, j+1, 4, 4); n > 0 {
			t.putRune(r, i)
			return j + 1 + n - i
		}
	}
	if r, n := hexRune(text, j, 2, 2); n > 0 {
		t.put(byte(r), i)
		return j + n - i
	}
	return 0
}

// simple are the escapes of one letter that C, JSON and shells share.
var simple = [256]byte{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'f': '\f', 'v': '\v', '"': '"', '\'': '\'', '/': '/'}

// letterDigits are the escapes that name a character, and how many hex digits they take.
var letterDigits = [256]int{'x': 2, 'u': 4, 'U': 8}

// backslash undoes the escape at text[i]: \n and its kind, \xXX, \uXXXX, \u{X}, \UXXXXXXXX and octal.
func (t *Text) backslash(text []byte, i int) int {
	j := i
	for j < len(text) && text[j] == '\\' {
		j++
	}
	if j == len(text) {
		return 0
	}
	c := text[j]
	if s := simple[c]; s != 0 {
		t.put(s, i)
		return j + 1 - i
	}
	if c >= '0' && c <= '7' {
		v, n := 0, 0
		for n < 3 && j+n < len(text) && text[j+n] >= '0' && text[j+n] <= '7' {
			v = v<<3 | int(text[j+n]-'0')
			n++
		}
		t.put(byte(v), i)
		return j + n - i
	}
	r, n := rune(0), 0
	switch digits := letterDigits[c]; {
	case digits == 0:
	case j+1 < len(text) && text[j+1] == '{':
		if r, n = hexRune(text, j+2, 1, 8); n > 0 && j+2+n < len(text) && text[j+2+n] == '}' {
			n += 2
		} else {
			n = 0
		}
	default:
		r, n = hexRune(text, j+1, digits, digits)
	}
	switch {
	case n == 0:
		return 0
	case r <= 0xFF && c == 'x':
		t.put(byte(r), i)
	case r >= 0xD800 && r < 0xE000: // half of a pair: both together are one character
		low, m := rune(0), 0
		if k := j + 1 + n; k+6 <= len(text) && text[k] == '\\' && text[k+1] == 'u' {
			low, m = hexRune(text, k+2, 4, 4)
		}
		if r < 0xDC00 && m == 4 && low >= 0xDC00 && low < 0xE000 {
			t.putRune(0x10000+(r-0xD800)<<10+(low-0xDC00), i)
			n += 6
		}
	default:
		t.putRune(r, i)
	}
	return j + 1 + n - i
}

// named are the HTML entities (HTML 13.5) of the characters that encodings and tokens are made of.
var named = map[string]rune{
	"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\'', "plus": '+', "sol": '/', "equals": '=',
	"lowbar": '_', "hyphen": '-', "dash": '-', "period": '.', "comma": ',', "colon": ':', "semi": ';', "num": '#',
	"percnt": '%', "dollar": '$', "commat": '@', "excl": '!', "ast": '*', "lpar": '(', "rpar": ')', "lsqb": '[',
	"rsqb": ']', "lcub": '{', "rcub": '}', "bsol": '\\', "verbar": '|', "grave": '`', "Hat": '^', "quest": '?',
	"nbsp": ' ', "Tab": '\t', "NewLine": '\n', "shy": 0xAD, "zwj": 0x200D, "zwnj": 0x200C, "ZeroWidthSpace": 0x200B,
	"lrm": 0x200E, "rlm": 0x200F, "NoBreak": 0x2060,
}

// entity undoes the HTML entity at text[i]. A number needs no semicolon, as in browsers.
func (t *Text) entity(text []byte, i int) int {
	j := i + 1
	for bytes.HasPrefix(text[j:], []byte("amp;")) {
		j += 4
	}
	if j == len(text) {
		return 0
	}
	if text[j] != '#' {
		n := bytes.IndexByte(text[j:min(len(text), j+16)], ';')
		if n <= 0 {
			if j == i+1 {
				return 0
			}
			t.put('&', i)
			return j - i
		}
		r, ok := named[string(text[j:j+n])]
		if !ok {
			return 0
		}
		t.putRune(r, i)
		return j + n + 1 - i
	}
	j++
	r, n := rune(0), 0
	if j < len(text) && text[j]|0x20 == 'x' {
		j++
		r, n = hexRune(text, j, 1, 8)
	} else {
		for n < 8 && j+n < len(text) && text[j+n] >= '0' && text[j+n] <= '9' {
			r = r*10 + rune(text[j+n]-'0')
			n++
		}
	}
	j += n
	switch {
	case n == 0:
		return 0
	case j < len(text) && text[j] == ';':
		j++
	case j < len(text) && (text[j] >= utf8.RuneSelf || text[j] == '\\' || text[j] == '%'):
		return 0 // an invisible character may stand inside the number
	}
	t.putRune(r, i)
	return j - i
}

// hexRune reads between least and most hex digits at text[i:]; n is 0 where there are fewer.
func hexRune(text []byte, i, least, most int) (r rune, n int) {
	for n < most && i+n < len(text) {
		d := unhex(text[i+n])
		if d < 0 {
			break
		}
		r = r<<4 | rune(d)
		n++
	}
	if n < least || r < 0 {
		return 0, 0
	}
	return r, n
}

func unhex(c byte) int { return int(int8(hexDigit[c])) - 1 }

// hexDigit is a hex digit's value plus one.
var hexDigit = func() (t [256]byte) {
	for c := '0'; c <= '9'; c++ {
		t[c] = byte(c - '0' + 1)
	}
	for c := 'a'; c <= 'f'; c++ {
		t[c] = byte(c - 'a' + 11)
		t[c-'a'+'A'] = t[c]
	}
	return t
}()

// QuotedPrintable writes text to t with =XX and soft line breaks undone (RFC 2045 6.7), and reports
// whether there were any.
func (t *Text) QuotedPrintable(text []byte) bool {
	t.reset()
	changed := false
	for i := 0; i < len(text); {
		next := bytes.IndexByte(text[i:], '=')
		if next < 0 {
			next = len(text) - i
		}
		if t.copy(text, i, i+next); i+next == len(text) {
			break
		}
		i += next
		if r, n := hexRune(text, i+1, 2, 2); n > 0 {
			t.put(byte(r), i)
			i += 3
			changed = true
		} else if n := softBreak(text, i); n > 0 {
			i += n
			changed = true
		} else {
			t.put('=', i)
			i++
		}
	}
	t.mark(len(text))
	return changed
}

// softBreak is the length of the soft line break at text[i], which is an equals sign; 0 where there's
// none. White space may stand before the end of the line.
func softBreak(text []byte, i int) int {
	j := i + 1
	for j < len(text) && j < i+8 && (text[j] == ' ' || text[j] == '\t' || text[j] == '\r') {
		j++
	}
	if j < len(text) && text[j] == '\n' {
		return j + 1 - i
	}
	return 0
}

// Numbers writes to t the bytes that text lists as numbers, decimal or with 0x, as programs print
// them: "[115, 107, 45]", "{0x73,0x6b}". Where more than three other bytes stand between two numbers,
// or letters, a new list begins; lists shorter than ShortestList are left out. It reports whether there was
// a list.
func (t *Text) Numbers(text []byte) bool {
	t.reset()
	list, end := 0, 0 // where the list begins in t, where its last number ended in text
	for i := 0; i < len(text); {
		c := text[i]
		if c < '0' || c > '9' {
			if c|0x20 >= 'a' && c|0x20 <= 'z' {
				t.endList(&list)
			}
			i++
			continue
		}
		if i-end > 3 {
			t.endList(&list)
		}
		from := i
		v, n := 0, 0
		if c == '0' && i+1 < len(text) && text[i+1]|0x20 == 'x' {
			r, digits := hexRune(text, i+2, 1, 2)
			v, n = int(r), digits+2
		} else {
			for n < 4 && i+n < len(text) && text[i+n] >= '0' && text[i+n] <= '9' {
				v = v*10 + int(text[i+n]-'0')
				n++
			}
		}
		i += n
		end = i
		if v > 0xFF || n == 4 && c != '0' {
			t.endList(&list)
			continue
		}
		t.put(byte(v), from)
	}
	t.endList(&list)
	t.mark(end)
	return len(t.Bytes) > 0
}

// ShortestList is how many numbers in a row Numbers takes for a list.
const ShortestList = 8

// endList drops the list if it's short, and begins the next.
func (t *Text) endList(list *int) {
	if len(t.Bytes)-*list < ShortestList {
		t.Bytes, t.marks = t.Bytes[:*list], t.marks[:*list] // each has its mark
	}
	*list = len(t.Bytes)
}

// Reverse writes text to t backwards.
func (t *Text) Reverse(text []byte) {
	t.reset()
	for i := len(text) - 1; i >= 0; i-- {
		t.Bytes = append(t.Bytes, text[i])
	}
}

// Rotate writes text to t with its letters rotated by 13.
func (t *Text) Rotate(text []byte) {
	t.reset()
	for _, c := range text {
		t.Bytes = append(t.Bytes, rotated[c])
	}
}

var rotated = func() (t [256]byte) {
	for c := range t {
		t[c] = byte(c)
		switch l := c | 0x20; {
		case l >= 'a' && l <= 'm':
			t[c] += 13
		case l >= 'n' && l <= 'z':
			t[c] -= 13
		}
	}
	return t
}()
