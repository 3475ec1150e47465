package scan_test

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/scan"
)

// A long stream with a key at each place that a border could fall on.
func TestStreamFindsWhatStraddles(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	s := scanner(t, key)
	b64 := base64.StdEncoding.EncodeToString([]byte(eachByte(key, `\u%04x`)))
	for _, at := range []int{0, 70 << 10, 96<<10 - 700, 96<<10 - 100, 96<<10 - 1, 96 << 10, 150 << 10, 300 << 10} {
		text := bytes.Repeat([]byte("all quiet here. "), 20<<10)
		copy(text[at:], b64)
		var found []scan.Finding
		st := s.Stream(func(f scan.Finding) { found = append(found, f) })
		settled := int64(0)
		for rest := text; len(rest) > 0; {
			n := min(len(rest), r.IntN(60<<10))
			_, _ = st.Write(rest[:n])
			rest = rest[n:]
			if now := st.Settled(); now < settled || len(found) == 0 && now > int64(at) && now > int64(len(text)-len(rest)) {
				t.Errorf("settled goes from %d to %d", settled, now)
			} else {
				settled = now
			}
			if len(found) == 0 && settled > int64(at) {
				t.Errorf("key at %d: settled at %d and not found", at, settled)
			}
		}
		_ = st.Close()
		if len(found) != 1 || found[0].Start > int64(at)+4 || found[0].End < int64(at+len(b64)-4) {
			t.Errorf("key at %d..%d: %+v", at, at+len(b64), found)
		}
		if st.Settled() != int64(len(text)) {
			t.Errorf("settled at %d of %d after the end", st.Settled(), len(text))
		}
	}
}

func TestFlushLooksAtOnce(t *testing.T) {
	t.Parallel()
	found := 0
	st := scanner(t, key).Stream(func(scan.Finding) { found++ })
	_, _ = st.Write([]byte("x " + key + " "))
	if found != 0 {
		t.Fatal("found before it had to be")
	}
	st.Flush()
	if found != 1 {
		t.Errorf("found %d times after Flush", found)
	}
	for range 20 { // less than is kept, and more
		_, _ = st.Write([]byte(strings.Repeat("more and ", 1000)))
		st.Flush()
	}
	if _ = st.Close(); found != 1 {
		t.Errorf("found %d times in the end", found)
	}
}

func FuzzScan(f *testing.F) {
	s := scanner(f, key, other, "hunter", "p@$$w0!#")
	for _, d := range disguises {
		if !strings.Contains("base64 with neighbours, percent nested, separators, zero-width", d.name) { // they draw
			f.Add([]byte(d.name + d.do(nil, "x"+key)))
		}
	}
	f.Add([]byte(`%25252541\\\\u0041&amp;#65;=41=` + "\r\n\xef\xbc\xa1\xe2\x80\x8b\x00a\x00b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole := s.Scan(nil, text)
		for _, x := range whole {
			if x.Start < 0 || x.Start >= x.End || x.End > int64(len(text)) {
				t.Fatalf("span outside of the %d bytes: %+v", len(text), x)
			}
		}
		var parts []scan.Finding
		st := s.Stream(func(x scan.Finding) { parts = append(parts, x) })
		for i := 0; i < len(text); i += 7 {
			_, _ = st.Write(text[i:min(len(text), i+7)])
		}
		_ = st.Close()
		if len(whole) != len(parts) {
			t.Fatalf("whole: %+v; as a stream: %+v", whole, parts)
		}
		s.Joined(nil, text, text)
		s.NewMemory().Add("k", text)
	})
}
