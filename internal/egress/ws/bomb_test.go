package ws_test

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"
)

// bomb is one message of size zeros, as a client sends it compressed.
func bomb(t *testing.T, size int64) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, nothing{}, size); err != nil {
		t.Fatal(err)
	}
	_ = w.Flush()
	rest := b.String()
	var out bytes.Buffer
	first := byte(0x42)
	for len(rest) > 0 {
		n := min(len(rest), 60000)
		if n == len(rest) {
			first |= 0x80
		}
		out.WriteString(frame(first, true, rest[:n]))
		first, rest = 0, rest[n:]
	}
	return out.String()
}

type nothing struct{}

func (nothing) Read(p []byte) (int, error) { clear(p); return len(p), nil }
