package scan_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/build"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

func tenSecrets() []string {
	r := rand.New(rand.NewPCG(7, 7))
	var out []string
	for i := range 10 {
		out = append(out, random(r, alphabets[i%len(alphabets)], 30+5*i))
	}
	return out
}

// grown repeats text to size bytes.
func grown(text []byte, size int) []byte {
	return bytes.Repeat(text, size/len(text)+1)[:size]
}

func source(tb testing.TB) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(build.Default.GOROOT, "src/net/http/server.go"))
	if err != nil {
		tb.Fatal("no Go source here: ", err)
	}
	return text
}

const prose = `It was a bright cold day in April, and the harbour master's clerk had counted every crate twice before
the rain came. "There are thirty-one," he said, "and there ought to be thirty-two; look again." Nobody moved. The ledger
lay open at the page for Wednesday, its columns as straight as the rigging, and whoever had made the last entry had
pressed so hard that the nib had gone through the paper. `

// texts are what leaves bottles all day.
func texts(tb testing.TB) map[string][]byte {
	noise := make([]byte, 768<<10)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	code := source(tb)
	var messages []map[string]string
	for i := 0; len(messages) < 400; i++ {
		from := i * 250 % (len(code) - 300)
		messages = append(messages, map[string]string{"role": "user", "content": string(code[from : from+250])})
	}
	body, err := json.Marshal(map[string]any{"model": "claude", "messages": messages})
	if err != nil {
		tb.Fatal(err)
	}
	var logs bytes.Buffer
	for i := range 20000 {
		fmt.Fprintf(&logs, "2026-11-26T04:%02d:%02d.%03dZ INFO request id=%08x method=GET path=/v1/items/%d status=200 bytes=%d\n", i/60%60, i%60, i%1000, i*2654435761, i, i*37)
	}
	return map[string][]byte{
		"prose":  []byte(prose),
		"source": code,
		"json":   body,
		"base64": []byte(base64.StdEncoding.EncodeToString(noise)),
		"log":    logs.Bytes(),
		"binary": noise,
	}
}

func BenchmarkScan(b *testing.B) {
	s := scanner(b, tenSecrets()...)
	for name, text := range texts(b) {
		for _, size := range []int{200, 10 << 10, 1 << 20} {
			text := grown(text, size)
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if found := s.Scan(nil, text); len(found) > 0 {
						b.Fatal(found)
					}
				}
			})
		}
	}
}

func BenchmarkStream(b *testing.B) {
	s := scanner(b, tenSecrets()...)
	for name, text := range texts(b) {
		text := grown(text, 1<<20)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				st := s.Stream(func(f scan.Finding) { b.Fatal(f) })
				for i := 0; i < len(text); i += 32 << 10 {
					_, _ = st.Write(text[i : i+32<<10])
				}
				_ = st.Close()
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	var c scan.Config
	for i, v := range tenSecrets() {
		c.Secrets = append(c.Secrets, scan.Secret{Name: fmt.Sprint(i), Value: secret.New(v)})
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = scan.New(c)
	}
}

func BenchmarkMemory(b *testing.B) {
	m := scanner(b, tenSecrets()...).NewMemory()
	value := []byte(strings.Repeat(prose, 3)[:1000])
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		m.Add("host/path?q", value)
	}
}
