package scan

import (
	"hash/maphash"
	"math/bits"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/scan/known"
)

// Memory remembers which parts of the known secrets left a bottle, over requests, hosts and
// protocols and for as long as it lives, and finds a secret that left in parts: three quarters of it,
// in parts of at least eight bytes in any order, or of any size in order under one key. Its memory is
// bounded. It's safe for concurrent use.
type Memory struct {
	s     *Scanner
	grams *known.Grams
	seed  maphash.Seed

	mu    sync.Mutex
	seen  [][]uint64 // by secret: a bit for each byte of it that left
	texts map[uint64]*rolling
	all   known.Rolling // of short values under any key
	turn  uint64
}

// rolling is the end of the text that left under one key.
type rolling struct {
	known.Rolling
	used uint64 // turn
}

const (
	keys       = 256 // texts remembered
	shortValue = 64  // bytes of a value that may be a part of a secret and nothing else
)

// NewMemory returns the memory of one bottle.
func (s *Scanner) NewMemory() *Memory {
	s.gramsOnce.Do(func() {
		values := make([][]byte, len(s.secrets))
		for i, n := range s.secrets {
			values[i] = n.value
		}
		s.grams = known.NewGrams(values)
	})
	m := &Memory{s: s, grams: s.grams, seed: maphash.MakeSeed(), texts: map[uint64]*rolling{}}
	for _, n := range s.secrets {
		m.seen = append(m.seen, make([]uint64, (len(n.value)+63)/64))
	}
	return m
}

// Add looks at values that leave, in order, under a key (host, path and parameter, say), and returns
// the secrets of which these values are a part and of which enough has left. Offsets are 0.
func (m *Memory) Add(key string, values ...[]byte) []Finding {
	m.mu.Lock()
	defer m.mu.Unlock()
	var touched []int32
	see := func(p known.Part) {
		for i := p.From; i < p.To; i++ {
			m.seen[p.Value][i/64] |= 1 << (i % 64)
		}
		for _, t := range touched {
			if t == p.Value {
				return
			}
		}
		touched = append(touched, p.Value)
	}
	text := m.text(key)
	for _, v := range values {
		m.grams.Find(&text.Rolling, v, see)
		if len(v) <= shortValue {
			m.grams.Find(&m.all, v, see)
		}
	}
	var found []Finding
	for _, t := range touched {
		left := 0
		for _, w := range m.seen[t] {
			left += bits.OnesCount64(w)
		}
		if n := m.s.secrets[t]; left*4 >= m.grams.Size(int(t))*3 {
			found = append(found, Finding{Kind: n.kind, Rule: n.name, Via: "split", Digest: n.digest, Excerpt: n.name})
		}
	}
	return found
}

// text is the text under key; the one longest unused makes room for a new one.
func (m *Memory) text(key string) *rolling {
	m.turn++
	k := maphash.String(m.seed, key)
	t := m.texts[k]
	if t == nil {
		if len(m.texts) >= keys {
			m.forget()
		}
		t = &rolling{}
		m.texts[k] = t
	}
	t.used = m.turn
	return t
}

// forget makes room: an eighth of the texts, so that a flood of keys costs little each.
func (m *Memory) forget() {
	for k, t := range m.texts {
		if m.turn-t.used >= keys*7/8 {
			delete(m.texts, k)
		}
	}
}
