package tui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Colours are the terminal's own sixteen: they fit a dark and a light screen alike, and NO_COLOR takes
// them away at the renderer.
const (
	plain  = ""
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
	violet = "35"
	cyan   = "36"
	chosen = "7" // reversed
)

// colors are the words for a label's colour.
var colors = map[string]string{"red": red, "green": green, "yellow": yellow, "blue": blue, "purple": violet, "pink": "95", "orange": "33", "cyan": cyan}

func paint(code, text string) string {
	if code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// fit makes text exactly width columns wide.
func fit(text string, width int) string {
	if width <= 0 {
		return ""
	}
	n := ansi.StringWidth(text)
	if n > width {
		text = ansi.Truncate(text, width, "…")
		n = ansi.StringWidth(text)
	}
	return text + strings.Repeat(" ", max(0, width-n))
}

// box draws lines in a frame of w by h with a title; what does not fit is left out.
func box(title string, lines []string, w, h int, focused bool) []string {
	if w < 2 || h < 2 {
		return blank(w, h)
	}
	code := faint
	if focused {
		code = cyan
	}
	head := " " + title + " "
	if title == "" {
		head = ""
	}
	head = ansi.Truncate(head, w-4, "… ")
	out := make([]string, 0, h)
	out = append(out, paint(code, "╭─")+paint(bold, head)+paint(code, strings.Repeat("─", max(0, w-3-ansi.StringWidth(head)))+"╮"))
	for i := range h - 2 {
		line := ""
		if i < len(lines) {
			line = lines[i]
		}
		out = append(out, paint(code, "│")+fit(line, w-2)+paint(code, "│"))
	}
	return append(out, paint(code, "╰"+strings.Repeat("─", w-2)+"╯"))
}

func blank(w, h int) []string {
	out := make([]string, max(0, h))
	for i := range out {
		out[i] = strings.Repeat(" ", max(0, w))
	}
	return out
}

// beside puts columns of equal height side by side.
func beside(columns ...[]string) []string {
	out := make([]string, len(columns[0]))
	for i := range out {
		for _, c := range columns {
			out[i] += c[i]
		}
	}
	return out
}

// over lays a smaller picture over the middle of a larger one.
func over(under, top []string, w int) []string {
	if len(top) == 0 {
		return under
	}
	width := ansi.StringWidth(top[0])
	x, y := max(0, (w-width)/2), max(0, (len(under)-len(top))/2)
	out := append([]string{}, under...)
	for i, line := range top {
		if y+i >= len(out) {
			break
		}
		old := out[y+i]
		out[y+i] = ansi.Cut(old, 0, x) + "\x1b[0m" + line + "\x1b[0m" + ansi.Cut(old, x+width, w)
	}
	return out
}

// window is the part of lines that shows line at in height lines.
func window(lines []string, at, height int) []string {
	if len(lines) <= height {
		return lines
	}
	from := min(max(0, at-height/2), len(lines)-height)
	return lines[from : from+height]
}

// wrapped breaks text between words to lines of at most width columns.
func wrapped(text string, width int) []string {
	if text == "" || width <= 0 {
		return nil
	}
	return strings.Split(ansi.Wordwrap(text, width, ""), "\n")
}
