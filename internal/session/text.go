package session

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/session/cast"
	"github.com/claude-bottle/claude-bottle/internal/session/escape"
)

// WriteText writes the recording at path as plain text: of a terminal what scrolled off the screen,
// line by line, then the last screen; of plain streams what they said. What it writes is inert.
func WriteText(w io.Writer, path string) error {
	out := bufio.NewWriter(w)
	var last *screen
	for _, file := range cast.Files(path) {
		s, err := writeFile(out, file)
		if err != nil {
			return err
		}
		last = s
	}
	if last != nil {
		last.writeScreen(out)
	}
	return out.Flush()
}

// writeFile writes what scrolled by in one file, and returns the screen it ends with, if it is a
// terminal's.
func writeFile(out *bufio.Writer, file string) (*screen, error) {
	r, err := cast.Open(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var filter escape.Filter // the file is ours, yet whoever edited it gets no further than the agent
	var s *screen
	if r.TTY {
		rows, cols := bounded(r.Rows, r.Cols)
		s = newScreen(int(rows), int(cols))
		s.scrolled = func(line string) { writeLine(out, ansi.Strip(line)) }
	}
	for {
		e, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return s, nil
		case err != nil:
			return nil, err
		case e.Kind == "o" && s == nil:
			for line := range strings.Lines(string(filter.Append(nil, []byte(e.Data)))) {
				_, _ = out.WriteString(inertLine(ansi.Strip(line))) // Flush tells
				if strings.HasSuffix(line, "\n") {
					_ = out.WriteByte('\n') // Flush tells
				}
			}
		case e.Kind == "o":
			filter.Rows = s.rows
			s.write(filter.Append(nil, []byte(e.Data)))
		case e.Kind == "r" && s != nil:
			var rows, cols uint16
			if n, _ := fmt.Sscanf(e.Data, "%dx%d", &cols, &rows); n == 2 {
				rows, cols = bounded(rows, cols)
				s.resize(int(rows), int(cols))
			}
		}
	}
}

// writeScreen writes the lines of the screen down to the last that holds anything.
func (s *screen) writeScreen(out *bufio.Writer) {
	grids := []*grid{s.main}
	if s.inAlt() {
		grids = append(grids, s.alt)
	}
	for _, g := range grids {
		blank := 0
		for y := range s.rows {
			line := s.row(g, y).String()
			if strings.TrimSpace(line) == "" {
				blank++
				continue
			}
			_, _ = out.WriteString(strings.Repeat("\n", blank)) // Flush tells
			blank = 0
			writeLine(out, line)
		}
	}
}

func writeLine(out *bufio.Writer, line string) {
	_, _ = out.WriteString(inertLine(line)) // Flush tells
	_ = out.WriteByte('\n')                 // Flush tells
}

// maxLine bounds one line of text, in bytes.
const maxLine = 1 << 20

func inertLine(s string) string {
	s = strings.ReplaceAll(s, "\t", "        ")
	return inert.Text(strings.TrimRight(s, " \r\n"), maxLine)
}
