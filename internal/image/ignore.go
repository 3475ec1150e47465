package image

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	ignoreMax   = 1 << 20 // bytes of a .dockerignore
	patternsMax = 10_000
)

// ignore is a .dockerignore: which paths of a context don't go to the engine. It means what Docker
// makes of the file: the last pattern that matches a path, or a folder the path is in, decides.
type ignore []pattern

type pattern struct {
	re *regexp.Regexp // of the path itself, or of a folder above it
	// keep is set by a leading "!".
	keep bool
	// literal is what every match begins with, up to the first character that is special.
	literal string
}

// parseIgnore reads a .dockerignore. Errors begin with the line's number.
func parseIgnore(text string) (ignore, error) {
	if len(text) > ignoreMax {
		return nil, fmt.Errorf("it has more than %d bytes", ignoreMax)
	}
	var ig ignore
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		if strings.HasPrefix(line, "#") {
			continue
		}
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if len(ig) == patternsMax {
			return nil, fmt.Errorf("line %d: more than %d patterns", number, patternsMax)
		}
		p, err := parsePattern(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", number, line, err)
		}
		if p.re != nil {
			ig = append(ig, p)
		}
	}
	return ig, nil
}

func parsePattern(s string) (p pattern, err error) {
	s, p.keep = strings.CutPrefix(s, "!")
	if s = strings.TrimSpace(s); s == "" {
		return p, fmt.Errorf("a ! without a pattern")
	}
	if s = strings.TrimPrefix(path.Clean(s), "/"); s == "" || s == "." {
		return p, nil // the context itself is always sent
	}
	expr, literal, err := translate(s)
	if err != nil {
		return p, err
	}
	p.literal = literal
	if p.re, err = regexp.Compile(`(?s)^` + expr + `(?:/.*)?$`); err != nil {
		return p, fmt.Errorf("not a pattern that can be matched")
	}
	return p, nil
}

// translate turns a pattern into a regular expression: "*" and "?" stop at slashes, "**" does not,
// "[a-z]" is a set, a backslash takes the next character as it is.
func translate(s string) (expr, literal string, err error) {
	var b, lit strings.Builder
	special := false
	one := func(r rune) {
		b.WriteString(regexp.QuoteMeta(string(r)))
		if !special {
			lit.WriteRune(r)
		}
	}
	for s != "" {
		switch {
		case strings.HasPrefix(s, "**"):
			special = true
			s = strings.TrimPrefix(s[2:], "/")
			if s == "" {
				b.WriteString(`.*`)
			} else {
				b.WriteString(`(?:.*/)?`)
			}
			continue
		case s[0] == '*':
			special = true
			b.WriteString(`[^/]*`)
			s = s[1:]
			continue
		case s[0] == '?':
			special = true
			b.WriteString(`[^/]`)
			s = s[1:]
			continue
		case s[0] == '[':
			special = true
			set, rest, err := translateSet(s[1:])
			if err != nil {
				return "", "", err
			}
			b.WriteString(set)
			s = rest
			continue
		}
		r, rest, err := character(s)
		if err != nil {
			return "", "", err
		}
		one(r)
		s = rest
	}
	return b.String(), lit.String(), nil
}

// translateSet turns what follows a "[" into a set of a regular expression.
func translateSet(s string) (expr, rest string, err error) {
	var b strings.Builder
	b.WriteByte('[')
	s, not := strings.CutPrefix(s, "^")
	if not {
		b.WriteByte('^')
	}
	for first := true; ; first = false {
		if s == "" {
			return "", "", fmt.Errorf("a [ without its ]")
		}
		if s[0] == ']' {
			if first {
				return "", "", fmt.Errorf("an empty set []")
			}
			b.WriteByte(']')
			return b.String(), s[1:], nil
		}
		low, after, err := character(s)
		if err != nil {
			return "", "", err
		}
		high := low
		if end, ok := strings.CutPrefix(after, "-"); ok {
			if high, after, err = character(end); err != nil {
				return "", "", err
			}
		}
		if high < low {
			return "", "", fmt.Errorf("the range %c-%c runs backwards", low, high)
		}
		fmt.Fprintf(&b, `\x{%x}-\x{%x}`, low, high)
		s = after
	}
}

// character takes the first character off s, minding a backslash.
func character(s string) (r rune, rest string, err error) {
	s, escaped := strings.CutPrefix(s, `\`)
	if s == "" {
		if escaped {
			return 0, "", fmt.Errorf(`a \ with nothing after it`)
		}
		return 0, "", fmt.Errorf("a set that does not end")
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return 0, "", fmt.Errorf("not UTF-8")
	}
	return r, s[n:], nil
}

// excludes reports whether the path, relative and with slashes, stays out of the context.
func (ig ignore) excludes(name string) bool {
	out := false
	for _, p := range ig {
		if out == p.keep && p.re.MatchString(name) {
			out = !p.keep
		}
	}
	return out
}

// mayKeepBelow reports whether a "!" pattern could match something in the folder.
func (ig ignore) mayKeepBelow(dir string) bool {
	dir += "/"
	for _, p := range ig {
		if p.keep && (strings.HasPrefix(p.literal, dir) || strings.HasPrefix(dir, p.literal)) {
			return true
		}
	}
	return false
}
