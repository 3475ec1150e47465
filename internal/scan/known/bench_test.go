package known

import (
	"bytes"
	"encoding/base64"
	"go/build"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func randomValues(n int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	var out [][]byte
	for range n {
		v := make([]byte, 40)
		for i := range v {
			v[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[r.IntN(64)]
		}
		out = append(out, v)
	}
	return out
}

func BenchmarkFind(b *testing.B) {
	source, err := os.ReadFile(filepath.Join(build.Default.GOROOT, "src/net/http/server.go"))
	if err != nil {
		b.Fatal(err)
	}
	image := make([]byte, 96<<10)
	rand.NewChaCha8([32]byte{}).Read(image)
	s, _ := New(randomValues(10))
	for name, text := range map[string][]byte{
		"source": source,
		"base64": []byte(base64.StdEncoding.EncodeToString(image)),
		"200B":   bytes.Repeat([]byte("Please make it work. "), 10)[:200],
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			blocks := make([]Block, 0, len(text)/BlockSize+1)
			for b.Loop() {
				var hits []Hit
				if hits, _ = s.Find(hits, blocks, text); len(hits) > 0 {
					b.Fatal("found")
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	values := randomValues(10)
	b.ReportAllocs()
	for b.Loop() {
		New(values)
	}
}
