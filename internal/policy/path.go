package policy

import (
	"strings"
	"unicode/utf8"
)

// decodePath decodes an escaped path once, or reports false when two readers could disagree about
// what it names: a dot segment, an empty element, an encoded slash or backslash, a NUL or other
// control byte, a broken or doubled escape, bytes that are not UTF-8. Such a path matches nothing,
// so a rule about paths can't be walked around by spelling.
func decodePath(escaped string) (string, bool) {
	if escaped == "" || escaped[0] != '/' {
		return "", false
	}
	path := escaped
	if strings.IndexByte(escaped, '%') >= 0 {
		b := make([]byte, 0, len(escaped))
		for i := 0; i < len(escaped); i++ {
			c := escaped[i]
			if c == '%' {
				if i+2 >= len(escaped) {
					return "", false
				}
				hi, ok1 := unhex(escaped[i+1])
				lo, ok2 := unhex(escaped[i+2])
				if !ok1 || !ok2 {
					return "", false
				}
				c = hi<<4 | lo
				if c == '/' {
					return "", false
				}
				i += 2
			}
			b = append(b, c)
		}
		path = string(b)
		if !utf8.ValidString(path) || doubled(path) {
			return "", false
		}
	}
	for start, i := 1, 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if c := path[i]; c < ' ' || c == 0x7f || c == '\\' {
				return "", false
			}
			continue
		}
		// An empty last element is a trailing slash, which is fine.
		elem, last := path[start:i], i == len(path)
		// "..;x" is a dot segment to servers that know path parameters.
		elem, _, _ = strings.Cut(elem, ";")
		if elem == "." || elem == ".." || (i == start && !last) {
			return "", false
		}
		start = i + 1
	}
	return path, true
}

// doubled reports whether a decoded path still holds an escape that a second decoding would turn
// into something that separates, climbs or ends.
func doubled(path string) bool {
	for rest := path; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return false
		}
		if len(after) >= 2 {
			switch strings.ToLower(after[:2]) {
			case "2f", "2e", "5c", "00", "25":
				return true
			}
		}
		rest = after
	}
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// match compares a path that decodePath returned.
func (m *PathMatch) match(path string) bool {
	switch m.Type {
	case PathExact:
		return path == m.Value
	case PathPrefix:
		want := strings.TrimSuffix(m.Value, "/")
		rest, ok := strings.CutPrefix(path, want)
		return ok && (rest == "" || rest[0] == '/')
	case PathRegex:
		return m.re != nil && m.re.MatchString(path)
	}
	return false
}

// String writes the match as a denial names it: "/api/*", "/exact", "~^/re$".
func (m PathMatch) String() string {
	switch m.Type {
	case PathPrefix:
		return strings.TrimSuffix(m.Value, "/") + "/*"
	case PathRegex:
		return "~" + m.Value
	}
	return m.Value
}
