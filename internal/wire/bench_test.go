package wire

import (
	"io"
	"testing"
)

func BenchmarkBulk(b *testing.B) {
	warden, cork := pair(b)
	cork.Handle("sink", func(st *Stream) {
		defer st.Close()
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{st})
	})
	st := open(b, warden, "sink", nil)
	chunk := make([]byte, 1<<20)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := st.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	warden, cork := pair(b)
	cork.Handle("echo", echo)
	st := open(b, warden, "echo", nil)
	buf := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := st.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(st, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenClose(b *testing.B) {
	warden, cork := pair(b)
	cork.Handle("echo", echo)
	b.ReportAllocs()
	for b.Loop() {
		st := open(b, warden, "echo", nil)
		_ = st.CloseWrite()
		if _, err := io.Copy(io.Discard, st); err != nil {
			b.Fatal(err)
		}
		_ = st.Close()
	}
}
