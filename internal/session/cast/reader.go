package cast

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// maxLine bounds one line of a recording, in bytes. Writer makes none nearly as long.
const maxLine = 4 << 20

// Event is one entry of a recording.
type Event struct {
	// At is the time since the file began.
	At time.Duration
	// Kind is "o" for output and "r" for a new size; others are to be skipped.
	Kind string
	// Data is the output, or "<columns>x<rows>".
	Data string
}

// Reader reads one recording file.
type Reader struct {
	// Rows and Cols are the size it began with, and TTY whether it is a terminal's.
	Rows, Cols uint16
	TTY        bool
	Began      time.Time

	file  *os.File
	lines *bufio.Reader
}

// Files returns the files that hold the recording at path, the oldest first.
func Files(path string) []string {
	if _, err := os.Lstat(path + older); err == nil {
		return []string{path + older, path}
	}
	return []string{path}
}

// Open reads the recording file at path, which may still be written to.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no recording yet: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	r := &Reader{file: f, lines: bufio.NewReaderSize(f, 32<<10)}
	line, err := r.line()
	var h header
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err == nil && h.Version != 2 {
		err = fmt.Errorf("asciicast version %d, want 2", h.Version)
	}
	if err != nil {
		_ = f.Close() // nothing was written to it
		return nil, fmt.Errorf("read recording %s: %w", path, err)
	}
	r.Rows, r.Cols, r.TTY = h.Height, h.Width, h.Env[modeKey] == ""
	r.Began = time.Unix(h.Timestamp, 0)
	return r, nil
}

// Next returns the next event, or io.EOF; after io.EOF it may be called again, for what was written
// since. A line that is no event, as a crash may leave one, is skipped.
func (r *Reader) Next() (Event, error) {
	for {
		line, err := r.line()
		if err != nil {
			return Event{}, err
		}
		if e, ok := parse(line); ok {
			return e, nil
		}
	}
}

func parse(line []byte) (Event, bool) {
	var raw []json.RawMessage
	if json.Unmarshal(line, &raw) != nil || len(raw) != 3 {
		return Event{}, false
	}
	var e Event
	var seconds float64
	for i, to := range []any{&seconds, &e.Kind, &e.Data} {
		if json.Unmarshal(raw[i], to) != nil {
			return Event{}, false
		}
	}
	e.At = time.Duration(seconds * float64(time.Second))
	return e, true
}

// line returns the next whole line. A line without its end stays unread.
func (r *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case len(line) > maxLine:
			return nil, fmt.Errorf("read recording: a line is longer than %d bytes", maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, r.unread(len(line))
		default:
			return nil, err
		}
	}
}

// unread gives n bytes at the end of the file back, until the rest of their line is there.
func (r *Reader) unread(n int) error {
	if _, err := r.file.Seek(-int64(n), io.SeekCurrent); err != nil {
		return err
	}
	r.lines.Reset(r.file)
	return io.EOF
}

// Close releases the file.
func (r *Reader) Close() error { return r.file.Close() }
