package unpack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

func BenchmarkDecoder(b *testing.B) {
	text := prose(1 << 20)
	for _, coding := range []string{"identity", "gzip", "deflate", "br", "zstd"} {
		for _, size := range []int{1000, 1 << 20} {
			var codings []string
			body := text[:size]
			if coding != "identity" {
				codings = []string{coding}
				body = coded(b, body, coding)
			}
			b.Run(fmt.Sprintf("%s/%d", coding, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					d, _ := NewDecoder(codings, Limits{}, func([]byte) error { return nil })
					for rest := body; len(rest) > 0; {
						n := min(len(rest), 32<<10)
						if _, err := d.Write(rest[:n]); err != nil {
							b.Fatal(err)
						}
						rest = rest[n:]
					}
					if err := d.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	// What the library does alone.
	body := coded(b, text, "gzip")
	b.Run("gzip alone", func(b *testing.B) {
		b.SetBytes(1 << 20)
		var z gzip.Reader
		for b.Loop() {
			_ = z.Reset(bytes.NewReader(body))
			_, _ = io.Copy(io.Discard, struct{ io.Reader }{&z})
		}
	})
}

// conversation is JSON as an agent sends it, n bytes or a little more.
func conversation(n int) []byte {
	var messages []map[string]any
	for size := 0; size < n; size += 500 {
		messages = append(messages, map[string]any{"role": "user", "content": []any{
			map[string]any{"type": "text", "text": strings.ToValidUTF8(string(prose(400)), "\n"), "index": size},
		}})
	}
	b, _ := json.Marshal(map[string]any{"model": "m", "max_tokens": 4096, "messages": messages})
	return b
}

func BenchmarkFields(b *testing.B) {
	dense, _ := json.Marshal(rand.New(rand.NewPCG(1, 1)).Perm(200_000))
	for name, c := range map[string]struct {
		contentType string
		body        []byte
	}{
		"JSON 10 KB": {"application/json", conversation(8_000)},
		"JSON 1 MB":  {"application/json", conversation(1 << 20)},
		"JSON dense": {"application/json", dense},
		"form":       {"application/x-www-form-urlencoded", bytes.Repeat([]byte("name=a+value%20of+it&"), 500)},
		"multipart":  {"multipart/form-data; boundary=xx", multipartOf(b, "xx", []string{string(prose(1 << 20))})},
		"text":       {"text/plain", prose(1 << 20)},
		"small text": {"text/plain", prose(200)},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				Fields(c.contentType, c.body, func(_, _ []byte) bool { return true })
			}
		})
	}
}

func BenchmarkWalker(b *testing.B) {
	text := prose(1 << 20)
	for name, body := range map[string][]byte{
		"text 1 MB": text, "text 1 KB": text[:1000], "tar": tarOf(b, file{"a", string(text)}),
		"tar.gz": coded(b, tarOf(b, file{"a", string(text)}), "gzip"),
		"zip":    zipOf(b, true, 8, file{"a", string(text)}),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				w := NewWalker("", Limits{}, func(Member) (io.Writer, error) { return io.Discard, nil })
				for rest := body; len(rest) > 0; {
					n := min(len(rest), 32<<10)
					_, _ = w.Write(rest[:n])
					rest = rest[n:]
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
