package unpack

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestReaderUndoesWhatADecoderDoes(t *testing.T) {
	t.Parallel()
	text := prose(100_000)
	for _, codings := range [][]string{{"gzip"}, {"deflate"}, {"br"}, {"zstd"}, {"gzip", "zstd"}} {
		body := coded(t, text, codings...)
		for name, src := range map[string]io.Reader{"at once": bytes.NewReader(body), "byte by byte": iotest.OneByteReader(bytes.NewReader(body))} {
			r, err := NewReader(io.NopCloser(src), codings, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%v %s: %d bytes, %v", codings, name, len(got), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if _, err := r.Read(make([]byte, 1)); err == nil {
				t.Errorf("%v %s: it reads on after its end", codings, name)
			}
		}
		r, err := NewReader(io.NopCloser(bytes.NewReader(body[:len(body)/2])), codings, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); err == nil {
			t.Errorf("%v: half of it is read as if it were whole", codings)
		}
		_ = r.Close() // it failed
	}
	if _, err := NewReader(nil, []string{"x-own"}, Limits{}); !errors.As(err, new(*UnknownError)) {
		t.Errorf("a coding of its own: %v", err)
	}
}
