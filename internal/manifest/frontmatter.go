package manifest

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Bounds on what is read. They are far above what people write and far below what hurts.
const (
	maxFile        = 256 << 10 // bytes of one file
	maxFrontmatter = 64 << 10  // bytes of YAML in it
	maxFiles       = 1000      // entries of one folder
	maxErrors      = 50        // mistakes told of one file
)

// document is a manifest file taken apart.
type document struct {
	yaml []byte
	// firstLine is the file's line the YAML starts on.
	firstLine int
	// body is what follows the frontmatter, without surrounding white space.
	body string
}

// empty reports whether the YAML holds nothing but comments.
func (d document) empty() bool {
	for line := range bytes.Lines(d.yaml) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// line returns a line of the YAML, counted from 1; nil when there is none.
func (d document) line(n int) []byte {
	for line := range bytes.Lines(d.yaml) {
		if n--; n == 0 {
			return line
		}
	}
	return nil
}

// oddBreak finds the first character that YAML takes for the end of a line and editors don't, which
// would put every later position on the wrong line. Line and col count from 1; name is empty when
// there is none.
func oddBreak(text []byte) (line, col int, name string) {
	line, col = 1, 1
	for i, r := range string(text) {
		switch {
		case r == '\n':
			line, col = line+1, 1
			continue
		case r == '\r' && (i+1 == len(text) || text[i+1] != '\n'), r == 0x85, r == 0x2028, r == 0x2029:
			return line, col, fmt.Sprintf("%U", r)
		}
		col++
	}
	return 0, 0, ""
}

// split takes a file apart at its first two lines of three dashes.
func split(file string, src []byte) (document, *Error) {
	bad := func(line, col int, msg, hint string) (document, *Error) {
		return document{}, &Error{Pos: Pos{file, line, col}, Msg: msg, Hint: hint}
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if !utf8.Valid(src) || bytes.IndexByte(src, 0) >= 0 {
		return bad(1, 1, "not a UTF-8 text file", "save it as UTF-8")
	}
	first, rest, _ := bytes.Cut(src, []byte("\n"))
	if !isFence(first) {
		return bad(1, 1, "no frontmatter", `the first line must be "---", then YAML keys, then "---"`)
	}
	for at := 0; at < len(rest); {
		line, size := rest[at:], len(rest)-at
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, size = line[:i], i+1
		}
		if isFence(line) {
			if at > maxFrontmatter {
				return bad(1, 1, fmt.Sprintf("the frontmatter is larger than %d KiB", maxFrontmatter>>10), "")
			}
			if line, col, name := oddBreak(rest[:at]); name != "" {
				return bad(line+1, col, "a line end other than LF or CRLF: "+name, "save the file with LF line ends")
			}
			return document{yaml: rest[:at], firstLine: 2, body: string(bytes.TrimSpace(rest[at+size:]))}, nil
		}
		at += size
	}
	return bad(1, 1, "the frontmatter has no end", `close it with a line of "---"`)
}

// isFence reports whether line is three dashes and white space after them.
func isFence(line []byte) bool {
	return string(bytes.TrimRight(line, " \t\r")) == "---"
}
