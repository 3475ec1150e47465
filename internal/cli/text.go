package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// putf and putln write to the operator. That nobody reads it, as when a pager was left, is no
// error: the work itself went on.
func putf(w io.Writer, format string, a ...any) { _, _ = fmt.Fprintf(w, format, a...) }
func putln(w io.Writer, a ...any)               { _, _ = fmt.Fprintln(w, a...) }

// safe makes text that an agent, a repository or another program wrote harmless on a terminal:
// one line, no control, escape or direction characters.
func safe(s string) string { return inert.Text(s, 0) }

// inertLine is safe for a whole line of an agent's output, of which nothing is to be cut.
func inertLine(line []byte) string { return inert.Text(string(line), 6*len(line)+1) }

// table is text in aligned columns. Cells may be painted.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer, st style) {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], visible(c))
		}
	}
	line := func(cells []string, paint func(string) string) {
		var b strings.Builder
		for i, c := range cells {
			b.WriteString(paint(c))
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-visible(c)+2))
			}
		}
		putln(w, strings.TrimRight(b.String(), " "))
	}
	line(t.head, st.dim)
	for _, row := range t.rows {
		line(row, func(s string) string { return s })
	}
}

// visible counts the characters of s that a terminal shows, our own colours left out.
func visible(s string) int {
	n := 0
	for len(s) > 0 {
		if strings.HasPrefix(s, "\x1b[") {
			if end := strings.IndexByte(s, 'm'); end > 0 {
				s = s[end+1:]
				continue
			}
		}
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		n++
	}
	return n
}

// wrap breaks text between words into lines of at most width characters; a longer word stands on
// a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && visible(line)+1+visible(word) > width {
			lines, line = append(lines, line), ""
		}
		line = joinNonEmpty(" ", line, word)
	}
	return append(lines, line)
}

func joinNonEmpty(sep string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}

// count is "1 bottle" or "3 bottles".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// age is a duration as a person says it: "12s", "5m", "3h", "2d".
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// bytesText is a size as manifests write it: "4 GiB".
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[u]
}
