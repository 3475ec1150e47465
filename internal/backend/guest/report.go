package guest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Report is cork's first word: what went wrong, or what was reached.
type Report struct {
	Failed   string   `json:"failed,omitempty"`
	Landlock int      `json:"landlock"`
	Narrow   bool     `json:"narrow,omitempty"` // names need loopback addresses; see netjail.Sockets
	Notes    []string `json:"notes,omitempty"`
}

// maxReport bounds a report on standard output, in bytes.
const maxReport = 64 << 10

// Send writes r where no descriptors can go along.
func (r Report) Send(w io.Writer) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

// Receive reads what Send wrote and not a byte more.
func Receive(from io.Reader) (r Report, err error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return r, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxReport {
		return r, fmt.Errorf("cork's report claims %d bytes, at most %d are allowed: something else writes to its output", size, maxReport)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("cork's report: %w", err)
	}
	return r, nil
}
