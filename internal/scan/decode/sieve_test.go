package decode

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBase64EveryWay(t *testing.T) {
	t.Parallel()
	want := []byte("4f6e652072696e6720746f2072756c65207468656d20616c6c2c")
	for before := range 8 {
		for way := range 4 {
			noise := make([]byte, 200)
			rand.NewChaCha8([32]byte{byte(before)}).Read(noise)
			inner := base64.StdEncoding.EncodeToString(want)
			b := []byte(inner)
			if way&1 == 1 {
				slices.Reverse(b)
			}
			if way&2 == 2 {
				for i, c := range b {
					switch {
					case c|0x20 >= 'a' && c|0x20 <= 'm':
						b[i] += 13
					case c|0x20 >= 'n' && c|0x20 <= 'z':
						b[i] -= 13
					}
				}
			}
			b = bytes.Trim(b, "=")
			text := slices.Concat([]byte(base64.RawStdEncoding.EncodeToString(noise)[:50+before]), b, []byte(base64.RawStdEncoding.EncodeToString(noise)[100:150]))
			found := false
			for _, s := range Base64(nil, text, 16) {
				if d := s.Append(nil, text); bytes.Contains(d, want) {
					found = true
					at := bytes.Index(d, want)
					from, to := s.Source(at, at+len(want))
					if from > 50+before || to < 50+before+len(b) || to-from > len(b)+2 {
						t.Errorf("span %d..%d, want %d..%d", from, to, 50+before, 50+before+len(b))
					}
				}
			}
			if !found {
				t.Errorf("before %d way %d: not found in %v", before, way, Base64(nil, text, 16))
			}
		}
	}
}

func BenchmarkBase64(b *testing.B) {
	noise := make([]byte, 48<<10)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for name, text := range map[string][]byte{
		"noise": []byte(base64.RawStdEncoding.EncodeToString(noise)),
		"text":  []byte(base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte("Nothing to see here. "), 2300))),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			var s []Stretch
			n := 0
			for b.Loop() {
				s = Base64(s[:0], text, 16)
				n = len(s)
			}
			b.ReportMetric(float64(n), "stretches")
		})
	}
}
