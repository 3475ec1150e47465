package inert

import "strings"

// Lines is Text for a block of output: every line by itself, the line ends kept, at most max bytes
// (DefaultMax when max is not positive) in all.
func Lines(s string, max int) string {
	if max <= 0 {
		max = DefaultMax
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		text, end := strings.CutSuffix(line, "\n")
		text = Text(strings.TrimSuffix(text, "\r"), max)
		if b.Len()+len(text)+1 > max {
			b.WriteString(ellipsis)
			break
		}
		b.WriteString(text)
		if end {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
