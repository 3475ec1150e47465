package inspect

import "strings"

// fill overwrites the span of a secret with as many bytes that say what was there, so that no length
// changes and no structure breaks: neither a quote nor a bracket of JSON's is among them. A span in
// an encoding is overwritten with letters of its alphabet.
func fill(span []byte, f Found) {
	if f.Via == "" {
		label := "(redacted:" + f.Rule + ")"
		if len(label) > len(span) {
			label = "(redacted)"
		}
		if len(label) <= len(span) && !strings.ContainsAny(label, "\"\\\r\n") {
			n := copy(span, label)
			for i := n; i < len(span); i++ {
				span[i] = '*'
			}
			return
		}
		for i := range span {
			span[i] = '*'
		}
		return
	}
	const word = "REDACTED"
	for i := range span {
		switch span[i] {
		case '\r', '\n', '"', '\\', ',', '{', '}', '[', ']', ':', '&', '=', '%':
			continue // what holds the encoding together, and what it stands in
		}
		span[i] = word[i%len(word)]
	}
}
