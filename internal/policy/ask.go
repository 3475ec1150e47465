package policy

import (
	"strconv"
	"strings"
)

// route is what an Ask proposes: as narrow as what was asked.
type route struct {
	host         string
	port         uint16
	tls          bool
	needPort     bool
	method, path string
}

// maxAskPath bounds the path an Ask repeats; a longer one is left out and the method kept.
const maxAskPath = 200

// ask writes the manifest text that would allow r.
func ask(r route) string {
	var b strings.Builder
	b.WriteString("egress:\n  routes:\n    - host: ")
	b.WriteString(scalar(r.host))
	standard := uint16(portTLS)
	if r.port != 0 && !r.tls {
		standard = portPlain
		b.WriteString("\n      plain: true")
	}
	if r.port != 0 && (r.port != standard || r.needPort && r.tls && r.port != portTLS) {
		b.WriteString("\n      ports: [" + strconv.Itoa(int(r.port)) + "]")
	}
	if token(r.method) {
		b.WriteString("\n      matches:\n        - methods: [" + scalar(r.method) + "]")
		if path, ok := decodePath(r.path); ok && len(path) <= maxAskPath {
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
