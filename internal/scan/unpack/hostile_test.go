package unpack

import (
	"bytes"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// hostile are bodies made to be looked at again and again, n bytes each.
func hostile(t testing.TB, n int) map[string]struct {
	Media
	body []byte
} {
	fill := func(s string) []byte { return bytes.Repeat([]byte(s), n/len(s)) }
	type hard = struct {
		Media
		body []byte
	}
	form := Media{ContentType: "multipart/form-data; boundary=xx"}
	return map[string]hard{
		"JSON of no end":          {Media{}, slices.Concat([]byte(`["`), fill("x"))},
		"JSON of backslashes":     {Media{}, slices.Concat([]byte(`["`), fill(`\`))},
		"JSON of escaped quotes":  {Media{}, slices.Concat([]byte(`["`), fill(`\"`))},
		"JSON of one number":      {Media{}, slices.Concat([]byte(`[`), fill("1"))},
		"JSON of depth":           {Media{}, fill(`{"a":[`)},
		"JSON of white space":     {Media{}, slices.Concat([]byte(`{"a"`), fill(" "))},
		"form of one name":        {Media{ContentType: "application/x-www-form-urlencoded"}, fill("%4")},
		"form of separators":      {Media{ContentType: "application/x-www-form-urlencoded"}, fill("&=")},
		"multipart of near ends":  {form, slices.Concat([]byte("--xx\r\n\r\n"), fill("\r\n--x"))},
		"multipart of wrong ends": {form, slices.Concat([]byte("--xx\r\n\r\n"), fill("\r\n--xx "))},
		"multipart of ends":       {form, fill("--xx\n")},
		"multipart of preamble":   {form, fill("\n--xxx")},
		"multipart header":        {form, slices.Concat([]byte("--xx\r\nA: "), fill("=?u?q?"))},
		"gRPC of empty messages":  {Media{ContentType: "application/grpc"}, fill("\x00\x00\x00\x00\x00")},
		"zip of signatures":       {Media{}, fill("PK\x03\x04")},
		"zip of letters":          {Media{}, fill("PK")},
		"zip of descriptors":      {Media{}, slices.Concat([]byte("PK\x03\x04\x14\x00\x08\x00"), make([]byte, 18), []byte{1, 0, 0, 0, 'a'}, fill("PK\x07\x08"))},
		"zip of empty members":    {Media{}, fill("PK\x03\x04\x14" + strings.Repeat("\x00", 21) + "\x01\x00\x00\x00a")},
		"gzip of empty members":   {Media{}, bytes.Repeat(coded(t, nil, "gzip"), n/23)},
	}
}

// What is written in small pieces must cost no more for each than for its bytes: these would take
// minutes if one cost what came before it.
func TestHostileBodiesAreReadInLinearTime(t *testing.T) {
	t.Parallel()
	for name, h := range hostile(t, 100_000) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			size := 0
			s := NewSplitter(h.Media, Limits{}, func(name, value []byte) bool {
				size += len(value)
				if value == nil {
					size += len(name)
				}
				return true
			})
			w := NewWalker(h.ContentType, Limits{}, func(Member) (io.Writer, error) { return io.Discard, nil })
			for piece := range slices.Chunk(h.body, 7) {
				if _, err := s.Write(piece); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(piece); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil || size > 3*len(h.body) {
				t.Errorf("%d bytes are yielded, %v", size, err)
			}
			if cap(s.rest) > 3*pieceSize {
				t.Errorf("%d bytes are kept", cap(s.rest))
			}
			w.Abort()
		})
	}
}

func BenchmarkHostile(b *testing.B) {
	for name, h := range hostile(b, 1<<20) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(h.body)))
			for b.Loop() {
				Fields(h.ContentType, h.body, func(_, _ []byte) bool { return true })
				_ = walk(bytes.NewReader(h.body), Limits{}, h.ContentType, func(Member) (io.Writer, error) { return io.Discard, nil })
			}
		})
	}
}

// TestUploadsAreNotKept is not parallel: it counts what the whole process allocates.
func TestUploadsAreNotKept(t *testing.T) {
	text := strings.Repeat(string(prose(1<<20)), 48)
	archive := tarOf(t, file{"a", text})
	for name, c := range map[string]struct {
		contentType string
		body        []byte
	}{
		"tar":       {"", archive},
		"tar.zst":   {"", coded(t, archive, "zstd")},
		"zip":       {"", zipOf(t, true, 0, file{"a", text})},
		"multipart": {"multipart/form-data; boundary=xx", multipartOf(t, "xx", []string{text})},
		"JSON":      {"application/json", slices.Concat([]byte(`{"data":"`), bytes.ReplaceAll([]byte(text), []byte(`"`), nil), []byte(`"}`))},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := NewWalker(c.contentType, Limits{}, func(Member) (io.Writer, error) { return io.Discard, nil })
		s := NewSplitter(Media{ContentType: c.contentType}, Limits{}, func(_, _ []byte) bool { return true })
		for piece := range slices.Chunk(c.body, 32<<10) {
			_, werr := w.Write(piece)
			_, serr := s.Write(piece)
			if werr != nil || serr != nil {
				t.Fatal(name, werr, serr)
			}
		}
		if err := w.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = s.Close()
		runtime.ReadMemStats(&after)
		// A zstd window is 8 MiB, and grows to it.
		if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 || name != "tar.zst" && n > 2<<20 {
			t.Errorf("%s: %d bytes were allocated for %d", name, n, len(c.body))
		} else {
			t.Logf("%s: %d bytes were allocated for %d", name, n, len(c.body))
		}
	}
}
