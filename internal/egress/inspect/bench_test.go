package inspect_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// BenchmarkHead is what looking at a small request's target and fields costs.
func BenchmarkHead(b *testing.B) {
	in := full(b)
	r := request(b, "GET", "https://registry.test/left-pad?write=true", "", "Accept", "application/json", "User-Agent", "npm/10.2.4 node/v20.11.0 linux x64",
		"Npm-Session", "0b1f2c3d4e5f60718293a4b5c6d7e8f9", "Accept-Encoding", "gzip, deflate, br")
	b.ReportAllocs()
	for b.Loop() {
		if rep := in.Head(r, "registry.test", "/left-pad", policy.Scan{}); rep.Stopped() {
			b.Fatal(rep)
		}
	}
}

// BenchmarkBody is what looking at a request's body costs, in every way there is.
func BenchmarkBody(b *testing.B) {
	in := full(b)
	for name, text := range map[string]string{"prompt 200 B": conversation(b, 150), "JSON 10 KB": conversation(b, 9<<10), "JSON 200 KB": conversation(b, 190<<10)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r := &http.Request{Method: "POST", Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text))}
				body, rep := in.Body(r, "api.test/v1/messages", policy.Scan{Model: true})
				if rep.Stopped() {
					b.Fatal(rep)
				}
				_ = body.Close()
			}
		})
	}
}

// conversation is about n bytes of what an agent tells its model: this package's own source.
func conversation(t testing.TB, n int) string {
	t.Helper()
	var source []byte
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for len(source) < n {
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source = append(source, text...)
		}
	}
	var messages []map[string]string
	for part := range slices.Chunk(source[:n], 2000) {
		messages = append(messages, map[string]string{"role": "user", "content": string(part)})
	}
	text, err := json.Marshal(map[string]any{"model": "m", "max_tokens": 1024, "messages": messages})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
