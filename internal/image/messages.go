package image

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// messageMax bounds one message of the engine, in bytes. BuildKit's are the biggest, and its own
// bound is this.
const messageMax = 16 << 20

// message is one line of what an engine answers to a build or a pull.
type message struct {
	ID          string          `json:"id"`
	Stream      string          `json:"stream"`
	Status      string          `json:"status"`
	Progress    json.RawMessage `json:"progressDetail"`
	Aux         json.RawMessage `json:"aux"`
	Error       string          `json:"error"`
	ErrorDetail struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

// failure is the engine's word for what went wrong; empty when nothing did.
func (m message) failure() string {
	if m.ErrorDetail.Message != "" {
		return m.ErrorDetail.Message
	}
	return m.Error
}

// messages calls each for every message until the stream ends. Engines write one a line; a line
// beyond the bound is passed over and said as output.
func messages(r io.Reader, each func(message)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	skipped := 0
	for {
		piece, err := in.ReadSlice('\n')
		switch {
		case skipped > 0 || len(line)+len(piece) > messageMax:
			skipped += len(line) + len(piece)
			line = nil
		default:
			line = append(line, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if skipped > 0 {
			each(message{Stream: fmt.Sprintf("(%d bytes of the engine's answer left out)\n", skipped)})
		} else if text := bytes.TrimSpace(line); len(text) > 0 {
			var m message
			if bad := json.Unmarshal(text, &m); bad != nil {
				if err != nil { // cut off in the middle
					return io.ErrUnexpectedEOF
				}
				return fmt.Errorf("the engine's answer can't be read: %v", bad)
			}
			each(m)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, skipped = line[:0], 0
	}
}
