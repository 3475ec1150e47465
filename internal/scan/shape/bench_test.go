package shape

import (
	"encoding/base64"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// source returns up to n bytes of the Go standard library's source.
func source(tb testing.TB, n int) []byte {
	tb.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Fatalf("no go command here: %v", err)
	}
	var text []byte
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), "src", "net"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || len(text) >= n {
			return err
		}
		if strings.HasSuffix(path, ".go") {
			b, err := os.ReadFile(path)
			text = append(text, b...)
			return err
		}
		return nil
	})
	if err != nil || len(text) == 0 {
		tb.Fatalf("no source of the standard library here: %v", err)
	}
	return text[:min(n, len(text))]
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, n*3/4)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	return []byte(base64.StdEncoding.EncodeToString(raw))
}

const english = "The quick brown fox jumps over the lazy dog while the committee, having met twice, decides that " +
	"nothing which was said before dinner shall be held against anyone present at the table afterwards. "

const conversation = `{"role":"user","content":[{"type":"text","text":"Please look at internal/egress/engine.go and tell me why ` +
	`the test TestKeepAlive fails; the log says \"unexpected EOF\" after the second request."}]},{"role":"assistant","content":` +
	`[{"type":"tool_use","id":"toolu_01A09q90qw90lq917835lq9","name":"Read","input":{"file_path":"/home/me/src/engine.go","limit":200}}]},`

func BenchmarkFind(b *testing.B) {
	rules := Default()
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"prompt-200B", []byte(english)[:200-11]},
		{"json-10KB", []byte(strings.Repeat(conversation, 10<<10/len(conversation)+1)[:10<<10])},
		{"english-1MB", []byte(strings.Repeat(english, 1<<20/len(english)+1)[:1<<20])},
		{"go-1MB", source(b, 1<<20)},
		{"base64-1MB", noise(1 << 20)},
	} {
		b.Run(c.name, func(b *testing.B) {
			var found []Match
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				found = rules.Find(found[:0], c.text)
			}
			b.ReportMetric(float64(len(found)), "findings")
		})
	}
}

// BenchmarkPrefilter is the one pass that all text pays for.
func BenchmarkPrefilter(b *testing.B) {
	rules := Default()
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"english-1MB", []byte(strings.Repeat(english, 1<<20/len(english)+1)[:1<<20])},
		{"go-1MB", source(b, 1<<20)},
		{"base64-1MB", noise(1 << 20)},
	} {
		b.Run(c.name, func(b *testing.B) {
			hits := 0
			b.SetBytes(int64(len(c.text)))
			for b.Loop() {
				hits = 0
				rules.lits.scan(c.text, func(*entry, int) bool { hits++; return true })
			}
			b.ReportMetric(float64(hits), "hits")
		})
	}
}
