package scan_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
)

// shards cuts s into parts of n bytes, shuffled.
func shards(r *rand.Rand, s string, n int) []string {
	var out []string
	for i := 0; i < len(s); i += n {
		out = append(out, s[i:min(len(s), i+n)])
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func TestMemoryFindsShuffledShards(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(string) string{
		"plain":  func(s string) string { return s },
		"hex":    func(s string) string { return hex.EncodeToString([]byte(s)) },
		"base64": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	} {
		r := rand.New(rand.NewPCG(3, 4))
		s := scanner(t, key, other)
		mine, others := s.NewMemory(), s.NewMemory()
		found := 0
		for i, shard := range shards(r, key, 8) {
			for range 50 {
				noise := random(r, alphabets[1], r.IntN(60))
				if f := mine.Add(fmt.Sprint("host", r.IntN(400)), []byte(noise)); len(f) > 0 {
					t.Errorf("%s: noise is found: %+v", name, f)
				}
			}
			for _, f := range mine.Add(fmt.Sprint("host", i), []byte("q"), []byte(write(shard))) {
				if f.Rule != "secret 0" || f.Via != "split" {
					t.Errorf("%s: %+v", name, f)
				}
				found++
			}
			if f := others.Add("host", []byte(write(shard[:len(shard)/2]))); len(f) > 0 {
				t.Errorf("%s: halves of shards, out of order, are found: %+v", name, f)
			}
		}
		if found == 0 {
			t.Errorf("%s: eight-byte shards are not found", name)
		}
	}
}

func TestMemoryFindsSmallShardsInOrder(t *testing.T) {
	t.Parallel()
	for n := 1; n < 8; n++ {
		m := scanner(t, key).NewMemory()
		found := 0
		for i := 0; i < len(key); i += n {
			found += len(m.Add("host/path?q", []byte(key[i:min(len(key), i+n)])))
			if f := m.Add(fmt.Sprint("other", i%5), []byte("an answer of more than sixty-four bytes, which are no part of a secret at all")); len(f) > 0 {
				t.Errorf("%+v", f)
			}
		}
		if found == 0 {
			t.Errorf("shards of %d bytes are not found", n)
		}
	}
}

// The beginnings of keys are in every documentation.
func TestMemoryIgnoresWhatIsCommon(t *testing.T) {
	t.Parallel()
	m := scanner(t, key).NewMemory()
	for i := range 100 {
		if f := m.Add("docs", []byte("sk-ant-api03-..."), []byte(fmt.Sprintf("sk-ant-api03-bottle-placeholder-%d", i))); len(f) > 0 {
			t.Fatalf("%+v", f)
		}
	}
}
