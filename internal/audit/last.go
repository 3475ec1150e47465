package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
)

// errNoEvent is what Last returns of a log that has none yet.
var errNoEvent = errors.New("no event yet")

// Last returns the last event of the log at path, by its end alone: it takes no longer for a long log than
// for a short one. A line that is just being written does not count.
func Last(path string) (e Event, err error) {
	f, err := os.Open(path)
	if err != nil {
		return e, err
	}
	defer f.Close() // only read
	st, err := f.Stat()
	if err != nil {
		return e, err
	}
	tail := make([]byte, min(st.Size(), 2*lineMax))
	if n, err := f.ReadAt(tail, st.Size()-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return e, err
	} else {
		tail = tail[:n]
	}
	end := bytes.LastIndexByte(tail, '\n')
	if end < 0 {
		return e, errNoEvent
	}
	line := tail[:end]
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	return e, json.Unmarshal(line, &e)
}
