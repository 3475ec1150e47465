package unpack

import (
	"errors"
	"fmt"
	"strings"
)

// maxCodings is how many content codings may lie over each other. Nobody uses two.
const maxCodings = 4

// Coding reads the lines of a message's Content-Encoding field (RFC 9110, sections 8.4 and 5.6.1)
// and returns the codings in the order they were applied, in lower case, x-gzip as gzip, without
// identity. A field that is no list of tokens, has empty elements or more than 4 codings is an
// error; a coding that NewDecoder does not know an *UnknownError.
func Coding(lines []string) ([]string, error) {
	var codings []string
	for _, line := range lines {
		if strings.Trim(line, " \t") == "" {
			continue
		}
		for element := range strings.SplitSeq(line, ",") {
			name := strings.Trim(element, " \t")
			if !token(name) {
				return nil, fmt.Errorf("content-encoding %.80q is no list of names", line)
			}
			name = strings.ToLower(name)
			switch name {
			case "identity":
				continue
			case "x-gzip":
				name = "gzip"
			}
			if _, ok := coders[name]; !ok {
				return nil, &UnknownError{Coding: name}
			}
			if len(codings) == maxCodings {
				return nil, fmt.Errorf("content-encoding has more than %d codings", maxCodings)
			}
			codings = append(codings, name)
		}
	}
	return codings, nil
}

// token reports whether s is one (RFC 9110, section 5.6.2).
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// errTrailing is data after the end of a coding. A receiver may read it as anything.
var errTrailing = errors.New("data follows the end of the compressed data")
