package unpack

import "bytes"

// Query yields the names and values of a query string or a urlencoded form, percent escapes and
// pluses undone (the URL standard, section 5.1).
func Query(query []byte, yield Yield) {
	p := pairs{out: &emitter{yield: yield}, separator: '&'}
	_, _, _ = p.split(query, 0, true) // which can't fail
}

// Cookies yields the names and values of a Cookie field (RFC 6265, section 4.2.1), as they are.
func Cookies(field []byte, yield Yield) {
	p := pairs{out: &emitter{yield: yield}, separator: ';'}
	_, _, _ = p.split(field, 0, true) // which can't fail
}

// looksForm reports whether a body starts as a urlencoded form: a name, then what may stand in one.
func looksForm(start []byte) bool {
	i := bytes.IndexByte(start, '=')
	if i <= 0 {
		return false
	}
	for _, c := range start {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '{' || c == '}' {
			return false
		}
	}
	return true
}

// pairs cuts names and values at separators.
type pairs struct {
	out       *emitter
	separator byte // '&', or ';' in cookies, which escape nothing
	open      bool // buf starts within a value, of which pieces have been yielded
	scratch   []byte
}

func (p *pairs) split(buf []byte, seen int, end bool) (int, int, error) {
	i := 0
	for i < len(buf) && !p.out.stopped {
		from := max(i, seen)
		stop := bytes.IndexByte(buf[from:], p.separator)
		if stop < 0 {
			if !end && len(buf)-i < pieceSize {
				return i, len(buf), nil
			}
			stop = len(buf)
			if !end {
				// Not within an escape.
				if j := bytes.IndexByte(buf[stop-2:], '%'); j >= 0 {
					stop -= 2 - j
				}
			}
			p.pair(buf[i:stop])
			p.open = true
			i = stop
			if !end {
				return i, i, nil
			}
			continue
		}
		stop += from
		p.pair(buf[i:stop])
		p.open = false
		i = stop + 1
	}
	return i, i, nil
}

// pair yields one, or a piece of it.
func (p *pairs) pair(raw []byte) {
	if !p.open {
		if len(raw) == 0 {
			return
		}
		name, value, ok := bytes.Cut(raw, []byte("="))
		if !p.out.key(p.decoded(name)) || !ok {
			return
		}
		raw = value
	}
	p.out.value(p.decoded(raw))
}

// decoded undoes the escapes of a name or a value.
func (p *pairs) decoded(raw []byte) []byte {
	if p.separator == ';' {
		return bytes.Trim(raw, " \t")
	}
	if bytes.IndexByte(raw, '%') < 0 && bytes.IndexByte(raw, '+') < 0 {
		return raw
	}
	p.scratch = unpercent(p.scratch[:0], raw)
	return p.scratch
}

func (*pairs) abort() {}

// unpercent appends raw to dst with percent escapes and pluses undone. What is no escape stays as it
// is.
func unpercent(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(raw):
			if high, low := unhex(raw[i+1]), unhex(raw[i+2]); high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
