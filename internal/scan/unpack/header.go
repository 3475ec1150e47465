package unpack

import (
	"bytes"
	"encoding/base64"
)

// Header takes a line of a message or MIME header apart: its name, its value with RFC 2047's encoded
// words undone, and where it has parameters each of their names and values, without quotes and with
// RFC 8187's and RFC 2231's percent escapes undone. Nothing is converted between character sets.
// Line has no line end.
func Header(line []byte, yield Yield) {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		yield(nil, unword(bytes.TrimSpace(line)))
		return
	}
	name, value = bytes.TrimSpace(name), bytes.TrimSpace(value)
	if !yield(name, nil) || !yield(name, unword(value)) {
		return
	}
	for _, rest := parameter(value); len(rest) > 0; {
		var p []byte
		p, rest = parameter(rest)
		key, text, ok := bytes.Cut(p, []byte("="))
		if !ok {
			continue
		}
		key, text = bytes.TrimSpace(key), bytes.TrimSpace(text)
		if plain, extended := bytes.CutSuffix(key, []byte("*")); extended {
			key = plain
			// The character set and the language come first.
			if set := bytes.SplitN(text, []byte("'"), 3); len(set) == 3 {
				text = set[2]
			}
			text = unpercentOnly(text)
		}
		if text = unword(unquote(text)); !yield(key, nil) || !yield(key, text) {
			return
		}
	}
}

// parameter cuts b at its first semicolon outside quotes.
func parameter(b []byte) (first, rest []byte) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ';' && !quoted:
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// unquote undoes a quoted string. Only quotes and backslashes are taken as escaped: programs for
// Windows send paths.
func unquote(b []byte) []byte {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return b
	}
	b = b[1 : len(b)-1]
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	text := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) && (b[i+1] == '"' || b[i+1] == '\\') {
			i++
		}
		text = append(text, b[i])
	}
	return text
}

// unpercentOnly undoes percent escapes where a plus is one.
func unpercentOnly(b []byte) []byte {
	if bytes.IndexByte(b, '%') < 0 {
		return b
	}
	text := make([]byte, 0, len(b))
	for i, piece := range bytes.Split(b, []byte("+")) {
		if i > 0 {
			text = append(text, '+')
		}
		text = append(text, unpercent(nil, piece)...)
	}
	return text
}

// unword undoes the encoded words of RFC 2047 in b, and the white space between two of them.
func unword(b []byte) []byte {
	i := bytes.Index(b, []byte("=?"))
	if i < 0 {
		return b
	}
	text := make([]byte, 0, len(b))
	after := false // an encoded word
	for i >= 0 {
		word, n := encodedWord(b[i:])
		if n == 0 {
			text, b, after = append(text, b[:i+2]...), b[i+2:], false
		} else {
			if !after || len(bytes.TrimSpace(b[:i])) > 0 {
				text = append(text, b[:i]...)
			}
			text, b, after = append(text, word...), b[i+n:], true
		}
		i = bytes.Index(b, []byte("=?"))
	}
	return append(text, b...)
}

// maxWord bounds an encoded word, for which RFC 2047 allows 75 bytes.
const maxWord = 1024

// encodedWord reads the one b starts with: =?charset?encoding?text?=
func encodedWord(b []byte) (text []byte, n int) {
	b = b[:min(len(b), maxWord)]
	set := bytes.IndexByte(b[2:], '?')
	if set < 0 || len(b) < set+5 || b[set+4] != '?' {
		return nil, 0
	}
	start := set + 5
	stop := bytes.Index(b[start:], []byte("?="))
	if stop < 0 {
		return nil, 0
	}
	raw := b[start : start+stop]
	n = start + stop + 2
	switch b[set+3] | 0x20 {
	case 'b':
		text = make([]byte, base64.RawStdEncoding.DecodedLen(len(raw)))
		m, err := base64.RawStdEncoding.Decode(text, bytes.TrimRight(raw, "="))
		if err != nil {
			return nil, 0
		}
		return text[:m], n
	case 'q':
		for i := 0; i < len(raw); i++ {
			c := raw[i]
			if c == '_' {
				c = ' '
			} else if c == '=' && i+2 < len(raw) && unhex(raw[i+1]) >= 0 && unhex(raw[i+2]) >= 0 {
				c = byte(unhex(raw[i+1])<<4 | unhex(raw[i+2]))
				i += 2
			}
			text = append(text, c)
		}
		return text, n
	}
	return nil, 0
}
