package unpack

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// looksJSON reports whether a body starts as a JSON object, array or string.
func looksJSON(start []byte) bool {
	start = bytes.TrimLeft(bytes.TrimPrefix(start, []byte("\ufeff")), " \t\r\n")
	return len(start) > 0 && (start[0] == '{' || start[0] == '[' || start[0] == '"')
}

// A jsonSplitter cuts JSON (RFC 8259) into its strings, numbers and literals. It refuses nothing:
// what is no JSON comes as runs of what is between structure characters and white space. So it
// keeps no stack but the bits that tell a key from a value.
type jsonSplitter struct {
	out     *emitter
	open    bool // buf starts within a string, of which pieces have been yielded
	isKey   bool // the next string is a name
	depth   int
	objects [maxJSON / 64]uint64 // a bit for each level, set in an object
	scratch []byte
}

// maxJSON is the depth below which keys are no longer told from values.
const maxJSON = 1024

// Classes of the bytes of JSON outside strings.
const (
	jsonText = iota
	jsonSpace
	jsonStructure
	jsonQuote
)

var jsonClass = [256]uint8{
	' ': jsonSpace, '\t': jsonSpace, '\r': jsonSpace, '\n': jsonSpace, ':': jsonSpace,
	'{': jsonStructure, '}': jsonStructure, '[': jsonStructure, ']': jsonStructure, ',': jsonStructure,
	'"': jsonQuote,
}

func (s *jsonSplitter) split(buf []byte, seen int, end bool) (int, int, error) {
	i := 0
	for i < len(buf) && !s.out.stopped {
		c := byte('"')
		if !s.open {
			c = buf[i]
		}
		switch jsonClass[c] {
		case jsonSpace:
			i++
		case jsonStructure:
			s.structure(c)
			i++
		case jsonQuote:
			start := i + 1
			if s.open {
				start = i
			}
			stop, escaped := stringEnd(buf, max(start, seen))
			if stop >= len(buf) { // not there yet, or in the middle of an escape
				if !end && len(buf)-start < pieceSize {
					return i, min(stop, len(buf)) - escaped, nil
				}
				i = s.piece(buf, start, end)
				if !end {
					s.open = true
					return i, i, nil
				}
				continue
			}
			s.text(buf[start:stop])
			s.open, s.isKey = false, false
			i = stop + 1
		default:
			stop := max(i, seen)
			for stop < len(buf) && jsonClass[buf[stop]] == jsonText {
				stop++
			}
			if stop == len(buf) && !end && stop-i < pieceSize {
				return i, stop, nil
			}
			s.out.value(buf[i:stop])
			i = stop
		}
	}
	return i, i, nil
}

// stringEnd looks for the quote that ends a string from i on. Without one it returns len(buf) and
// how many bytes before that an escape is unfinished.
func stringEnd(buf []byte, i int) (stop, escaped int) {
	for quote := i - 1; ; {
		if quote < i {
			if quote = i + bytes.IndexByte(buf[i:], '"'); quote < i {
				quote = len(buf)
			}
		}
		j := bytes.IndexByte(buf[i:quote], '\\')
		if j < 0 {
			return quote, 0
		}
		if i += j + 2; i > len(buf) {
			return len(buf), 1
		}
	}
}

// piece yields the start of a string that is too long or has no end, and returns where it stopped,
// which is between escapes.
func (s *jsonSplitter) piece(buf []byte, start int, end bool) int {
	stop := len(buf)
	if !end {
		// A \u escape is 6 bytes.
		if i := bytes.IndexByte(buf[stop-6:], '\\'); i >= 0 {
			stop -= 6 - i
			for n := stop; n > start && buf[n-1] == '\\'; n-- {
				stop-- // nor behind a backslash that may be escaped
			}
		}
	}
	if stop <= start {
		stop = len(buf) // backslashes alone: where they are cut does not matter
	}
	s.text(buf[start:stop])
	return stop
}

// text yields the inside of a string.
func (s *jsonSplitter) text(raw []byte) {
	if i := bytes.IndexByte(raw, '\\'); i >= 0 {
		s.scratch = unescapeJSON(append(s.scratch[:0], raw[:i]...), raw[i:])
		raw = s.scratch
	}
	if s.isKey {
		s.out.key(raw)
	} else {
		s.out.value(raw)
	}
}

// structure keeps track of whether a string is a key.
func (s *jsonSplitter) structure(c byte) {
	switch c {
	case '{', '[':
		s.depth++
		if s.depth < maxJSON {
			bit := uint64(1) << (s.depth % 64)
			s.objects[s.depth/64] &^= bit
			if c == '{' {
				s.objects[s.depth/64] |= bit
			}
		}
	case '}', ']':
		s.depth = max(s.depth-1, 0)
	}
	s.isKey = (c == '{' || c == ',') && s.depth < maxJSON && s.objects[s.depth/64]>>(s.depth%64)&1 == 1
}

// unescapeJSON appends raw to dst with its escapes undone. What is no escape stays as it is; a lone
// surrogate becomes U+FFFD.
func unescapeJSON(dst, raw []byte) []byte {
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 || i+1 == len(raw) {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		raw = raw[i:]
		switch c := raw[1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'u':
			r, ok := hex4(raw[2:])
			if !ok {
				dst = append(dst, '\\', c)
				break
			}
			raw = raw[4:]
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), len(raw) >= 4 && raw[2] == '\\' && raw[3] == 'u'
				if ok {
					low, ok = hex4(raw[4:])
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					raw = raw[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '\\', c)
		}
		raw = raw[2:]
	}
	return dst
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		d := unhex(c)
		if d < 0 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func (*jsonSplitter) abort() {}
