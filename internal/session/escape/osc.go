package escape

import (
	"bytes"
)

// Bounds on the texts of OSC strings, in bytes.
const (
	maxTitle = 256
	maxLink  = 2048
)

// How a Filter spells a title: Title, the text, StringEnd.
const (
	Title     = "\x1b]2;"
	StringEnd = "\x1b\\"
)

// operating handles a whole OSC string: titles, links, and questions after colours. Not passed:
// the clipboard (52), colours set, notifications, working folder, fonts, file transfer.
func (f *Filter) operating(dst, body []byte) []byte {
	number, rest, _ := bytes.Cut(body, []byte{';'})
	switch string(number) {
	case "0", "2":
		dst = append(dst, Title...)
		dst = append(dst, inertTitle(rest, maxTitle)...)
		return append(dst, StringEnd...)
	case "8":
		return link(dst, rest)
	case "10", "11", "12":
		if string(rest) == "?" {
			return f.query(dst, "\x1b]", string(number), ";?", StringEnd)
		}
	case "4":
		index, ask, _ := bytes.Cut(rest, []byte{';'})
		if string(ask) == "?" && len(index) > 0 && len(index) <= 3 && single(string(index)) {
			return f.query(dst, "\x1b]4;", string(index), ";?", StringEnd)
		}
	}
	return dst
}

// link handles the start or end of a hyperlink. A link that is not plain web ends the one before:
// other schemes start programs of the operator's.
func link(dst, rest []byte) []byte {
	params, url, _ := bytes.Cut(rest, []byte{';'})
	web := bytes.HasPrefix(url, []byte("https://")) || bytes.HasPrefix(url, []byte("http://"))
	if !web || len(rest) > maxLink || !printableASCII(params) || !printableASCII(url) || bytes.IndexByte(url, ';') >= 0 {
		params, url = nil, nil
	}
	dst = append(dst, "\x1b]8;"...)
	dst = append(dst, params...)
	dst = append(dst, ';')
	dst = append(dst, url...)
	return append(dst, StringEnd...)
}

func printableASCII(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= del {
			return false
		}
	}
	return true
}
