package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/claude-bottle/claude-bottle/internal/session/cast"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// maxTailLine bounds what is kept of an unfinished line, in bytes.
const maxTailLine = 1 << 20

// tail calls each for every line of a bottle's file, and goes on with what is added while the
// bottle lives when on is set. A file that isn't there yet is waited for, one that never comes
// has no lines.
func (a *app) tail(ctx context.Context, dir *state.Dir, name string, on bool, each func(line []byte) error) error {
	var f *os.File
	defer func() {
		if f != nil {
			_ = f.Close() // read-only
		}
	}()
	var rest []byte
	return follow(ctx, dir, on, func() error {
		if f == nil {
			opened, err := os.Open(dir.Path(name))
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			f = opened
		}
		r := bufio.NewReader(f)
		for {
			piece, err := r.ReadSlice('\n')
			rest = append(rest, piece...)
			switch {
			case err == nil:
				if err := each(bytes.TrimSuffix(rest, []byte("\n"))); err != nil {
					return err
				}
				rest = rest[:0]
			case errors.Is(err, io.EOF):
				return nil
			case !errors.Is(err, bufio.ErrBufferFull):
				return err
			case len(rest) > maxTailLine:
				return fmt.Errorf("%s: a line is longer than %d bytes", dir.Path(name), maxTailLine)
			}
		}
	})
}

// drainCast writes the recorded output that is new.
func drainCast(r *cast.Reader, out *lineWriter, w io.Writer) error {
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Kind == "o" {
			if err := out.write(w, e.Data); err != nil {
				return err
			}
		}
	}
}

// lineWriter writes an agent's output line by line, each made inert.
type lineWriter struct{ rest []byte }

func (l *lineWriter) write(w io.Writer, data string) error {
	l.rest = append(l.rest, data...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 && len(l.rest) < maxTailLine {
			return nil
		}
		if i < 0 {
			return l.flush(w)
		}
		line := bytes.TrimSuffix(l.rest[:i], []byte("\r"))
		if _, err := fmt.Fprintln(w, inertLine(line)); err != nil {
			return err
		}
		l.rest = l.rest[i+1:]
	}
}

// flush writes what is left without a line end.
func (l *lineWriter) flush(w io.Writer) error {
	if len(l.rest) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(w, inertLine(l.rest))
	l.rest = nil
	return err
}
