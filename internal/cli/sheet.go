package cli

import (
	"fmt"
	"io"
	"strings"
)

// sheet writes labelled rows: labels in a left column, text beside it.
type sheet struct {
	w     io.Writer
	st    style
	width int // columns
}

// row writes one labelled line; empty text is left out.
func (s sheet) row(label, text string) {
	if text != "" {
		s.rows(label, []string{text})
	}
}

// words writes text, broken between words, beside its label.
func (s sheet) words(label, text string) {
	if text != "" {
		s.rows(label, wrap(text, s.width-labelWidth))
	}
}

// rows writes lines beside one label.
func (s sheet) rows(label string, lines []string) {
	for i, line := range lines {
		if i > 0 {
			label = ""
		}
		putf(s.w, "  %s%s\n", s.st.dim(fmt.Sprintf("%-*s", labelWidth-2, label)), line)
	}
}

// mark writes a paragraph behind a mark of the given width.
func (s sheet) mark(mark string, width int, text string) {
	for i, line := range wrap(text, s.width-width-3) {
		if i > 0 {
			mark = strings.Repeat(" ", width)
		}
		putf(s.w, "  %s %s\n", mark, line)
	}
}
