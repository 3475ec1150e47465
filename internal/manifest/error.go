package manifest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// ErrNotFound is wrapped by every error about an agent or bottle that doesn't exist.
var ErrNotFound = errors.New("not found")

// Pos is a place in a file; lines and columns count from 1. The zero Pos is no place.
type Pos struct {
	File      string
	Line, Col int
}

// String returns "file:line:col", "file" when the line is unknown, and "" for the zero Pos.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Error is one mistake in one manifest file.
type Error struct {
	Pos
	// Field is the path of the key it is about, as in "egress.routes[0].host"; empty for the
	// file as a whole.
	Field string
	// Msg says what is wrong, Hint what to write instead. Both are one line.
	Msg, Hint string
}

// Error returns "file:line:col: field: message; hint", inert and bounded.
func (e *Error) Error() string {
	var b strings.Builder
	// String is the place alone, of the embedded Pos.
	for _, s := range []string{e.String(), e.Field} {
		if s != "" {
			b.WriteString(s)
			b.WriteString(": ")
		}
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return inert.Text(b.String(), maxMessage)
}

// maxMessage bounds one message, in bytes: files of a repository are quoted in them.
const maxMessage = 4 << 10

// NotFoundError says that an agent or bottle was asked for that isn't there. It wraps ErrNotFound.
type NotFoundError struct {
	Kind  Kind
	Name  string
	Known []string // the names there are, sorted
}

// Error names what was looked for, the nearest name and all there are.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no %s %q; %s", e.Kind, e.Name, choices(e.Name, e.Known, "there is"))
}

// Unwrap returns ErrNotFound.
func (e *NotFoundError) Unwrap() error { return ErrNotFound }

// joined turns the errors of one file into one error, nil when there are none.
func joined(errs []*Error) error {
	all := make([]error, len(errs))
	for i, e := range errs {
		all[i] = e
	}
	return errors.Join(all...)
}
