package audit

import (
	"bufio"
	"errors"
	"io"
)

// errUnfinished is a last line without its end.
var errUnfinished = errors.New("unfinished: its writer was cut off")

// lines reads bounded lines.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) *lines { return &lines{bufio.NewReaderSize(r, lineMax)} }

// next returns the next line without its end, valid until the next call, or io.EOF.
func (l *lines) next() ([]byte, error) {
	b, err := l.r.ReadSlice('\n')
	switch {
	case err == nil:
		return b[:len(b)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errors.New("longer than any event")
	case errors.Is(err, io.EOF) && len(b) > 0:
		return nil, errUnfinished
	}
	return nil, err
}
