package known

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

const value = "Zk3_9pQvL7xW2mNc8RtY5uHsJ1dFgKbE"

func TestFormsAtEveryAlignment(t *testing.T) {
	t.Parallel()
	s, _ := New([][]byte{[]byte(value)})
	for before := range 6 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("!", before) + value + "!!!"))
		hits, _ := s.Find(nil, nil, []byte(text))
		if len(hits) != 1 || hits[0].Form != "base64" {
			t.Errorf("after %d bytes: %+v", before, hits)
		}
	}
}

// Wherever blocks and strides fall, a value is found, to the byte.
func TestEveryOffset(t *testing.T) {
	t.Parallel()
	s, _ := New([][]byte{[]byte(value)})
	for at := range 80 {
		text := strings.Repeat(".", at) + value
		for _, after := range []string{"", ".", strings.Repeat(" ", 70)} {
			hits, _ := s.Find(nil, nil, []byte(text+after))
			if len(hits) != 1 || hits[0].Start != at || hits[0].End != len(text) {
				t.Errorf("at %d: %+v", at, hits)
			}
		}
	}
}

func TestPartsOfAValue(t *testing.T) {
	t.Parallel()
	s, _ := New([][]byte{[]byte(value)})
	for cut := range 8 {
		want := 1
		if cut > 3 { // an eighth of the 31 letters and digits
			want = 0
		}
		for _, part := range []string{value[cut:], value[:len(value)-cut]} {
			if hits, _ := s.Find(nil, nil, []byte("<"+part+">")); len(hits) != want && cut != 4 {
				t.Errorf("without %d bytes, %q: %+v", cut, part, hits)
			}
		}
	}
}

func TestLongValuesAreFoundByPieces(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte(value), 100)
	for i := range long {
		long[i] += byte(i * 7 % 11)
	}
	s, _ := New([][]byte{long})
	if hits, _ := s.Find(nil, nil, long); len(hits) == 0 {
		t.Error("not found")
	}
	if hits, _ := s.Find(nil, nil, long[:len(long)/2]); len(hits) == 0 {
		t.Error("half of it is not found")
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	s, _ := New(nil)
	_, blocks := s.Find(nil, nil, []byte("ab cd+/-_="+strings.Repeat(" ", 22)+"%"))
	if len(blocks) != 2 || uint32(blocks[0]) != 0b1101111110<<22 || blocks[0]>>32 != HasEquals>>32 || blocks[1] != HasEscape {
		t.Errorf("%b", blocks)
	}
}

func TestGrams(t *testing.T) {
	t.Parallel()
	g := NewGrams([][]byte{[]byte(value), []byte("short")})
	if g.Size(0) != len(value) || g.Size(1) != 0 {
		t.Errorf("sizes %d, %d", g.Size(0), g.Size(1))
	}
	for at := 0; at+8 <= len(value); at++ {
		var r Rolling
		seen := 0
		for _, half := range []string{"#" + value[at:at+3], value[at+3 : at+8]} {
			g.Find(&r, []byte(half), func(p Part) {
				if int(p.From) != at || p.Value != 0 {
					t.Errorf("at %d: %+v", at, p)
				}
				seen++
			})
		}
		if seen != 1 {
			t.Errorf("the part at %d is seen %d times", at, seen)
		}
	}
}
