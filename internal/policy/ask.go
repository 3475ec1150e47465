package policy

import (
	"strconv"
	"strings"
)

// maxAskPath bounds the path an Ask repeats; a longer one is left out and the method kept.
const maxAskPath = 200

// ask writes the manifest text that would allow r, whose host is canonical: a capability when one is
// known to, else the narrowest rule.
func (p *Policy) ask(r Request) string {
	if p.suggest != nil {
		if text := p.suggest(r); text != "" {
			return text
		}
	}
	return narrowest(r)
}

// Narrowest writes the rule that would allow r and nothing else, as manifest text.
func Narrowest(r Request) string {
	name, err := Canonical(r.Host)
	if err != nil {
		return impossible("this is not a host a rule could name")
	}
	r.Host = name
	return narrowest(r)
}

func narrowest(r Request) string {
	var b strings.Builder
	b.WriteString("egress:\n  routes:\n    - host: ")
	b.WriteString(scalar(r.Host))
	standard := uint16(portTLS)
	if r.Port != 0 && !r.TLS {
		standard = portPlain
		b.WriteString("\n      plain: true")
	}
	if r.Port != 0 && (r.Port != standard) {
		b.WriteString("\n      ports: [" + strconv.Itoa(int(r.Port)) + "]")
	}
	if token(r.Method) {
		b.WriteString("\n      matches:\n        - methods: [" + scalar(r.Method) + "]")
		if path, ok := decodePath(r.Path); ok && len(path) <= maxAskPath {
			b.WriteString("\n          paths: [{type: exact, value: " + scalar(path) + "}]")
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// impossible is the Ask of a denial no manifest can lift.
func impossible(why string) string { return "# nothing: " + why + "\n" }

// scalar writes s so that YAML reads it back as this string, whatever the agent put in it.
func scalar(s string) string {
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '/' && i == 0 {
			continue
		}
		if i > 0 && (c >= '0' && c <= '9' || strings.IndexByte("/._-", c) >= 0) {
			continue
		}
		return strconv.QuoteToASCII(s)
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "":
		return strconv.Quote(s)
	}
	return s
}
