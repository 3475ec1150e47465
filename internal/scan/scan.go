package scan

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/scan/known"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// Secret is a value to look for.
type Secret struct {
	Name   string // what findings call it
	Value  secret.Value
	Canary bool
}

// Shapes finds text in the shape of credentials. report is called during Find, with offsets of text.
type Shapes interface {
	Find(text []byte, report func(rule string, start, end int))
}

// Config is what a Scanner looks for.
type Config struct {
	Secrets []Secret
	Shapes  Shapes // nil: none
	Entropy bool   // report random tokens in texts of up to 1 KB, such as host labels and paths
	// Depth is how many encodings inside each other are undone, besides the innermost and besides
	// escapes, which are undone up to ten times. 0 stands for 3.
	Depth int
	// Unpack yields what is inside compressed data or an archive found in some encoding; nil: such
	// data is not opened. It bounds what it yields.
	// An error says that not all could be looked at, as Exhausted does.
	Unpack func(data []byte, yield func([]byte)) error
}

// Scanner looks for secrets. It's immutable and safe for concurrent use.
type Scanner struct {
	set      *known.Set
	secrets  []named
	tooShort []string
	shapes   Shapes
	unpack   func([]byte, func([]byte)) error
	entropy  bool
	depth    int
	least    int // shortest decoded text worth looking at, in bytes
	margin   int // how far from an escape a secret that has it may reach, in bytes
	salt     [16]byte
	workers  sync.Pool

	gramsOnce sync.Once
	grams     *known.Grams
}

// named is a secret as findings describe it; its value is here for verbatim comparison.
type named struct {
	name   string
	kind   Kind
	value  []byte
	digest string
}

// New makes a scanner. It fails for a secret without a name. A value too short to be told from chance
// is no error: TooShort lists them.
func New(c Config) (*Scanner, error) {
	s := &Scanner{shapes: c.Shapes, unpack: c.Unpack, entropy: c.Entropy, depth: c.Depth}
	if s.depth == 0 {
		s.depth = 3
	}
	_, _ = rand.Read(s.salt[:]) // crypto/rand ends the program rather than fail
	values := make([][]byte, 0, len(c.Secrets))
	for i, sec := range c.Secrets {
		if sec.Name == "" {
			return nil, fmt.Errorf("scanner: secret %d has no name for findings to use", i+1)
		}
		n := named{name: sec.Name, kind: Known, value: bytes.TrimSpace([]byte(sec.Value.Reveal()))}
		if sec.Canary {
			n.kind = Canary
		}
		n.digest = s.digest(n.value)
		s.secrets = append(s.secrets, n)
		values = append(values, n.value)
	}
	var short []int
	s.set, short = known.New(values)
	for _, i := range short {
		s.tooShort = append(s.tooShort, s.secrets[i].name)
	}
	s.least = min(max(s.set.Shortest(), 8), 16)
	s.margin = min(max(256, 3*s.set.Longest()), 4<<10)
	s.workers.New = func() any { return newWorker(s) }
	return s, nil
}

// TooShort names the secrets that have fewer than six characters, which are not looked for.
func (s *Scanner) TooShort() []string { return s.tooShort }

const (
	// window is how much of a text is looked at as one; overlap is how much of it is looked at
	// again with the next, so that what straddles the border is found.
	window  = 1 << 20
	overlap = 16 << 10
	// most is how many findings one call reports. Who sends more is not served by being precise.
	most = 1024
)

// Scan appends what it finds in text to dst.
func (s *Scanner) Scan(dst []Finding, text []byte) []Finding {
	w := s.worker(dst)
	defer s.release(w)
	w.pieces(text, 0)
	if s.entropy && len(text) <= entropyText {
		w.random(text)
	}
	return w.found
}

// beside is how far from where two values meet a secret that is cut there may reach into each, in
// bytes. What is further inside a long value, the look at that value sees.
const beside = 1 << 10

// Joined appends what it finds in parts (the values of one request's parameters, headers or
// elements) put together without what stood between them, and that is in no part alone. Offsets are
// those of the parts put together.
func (s *Scanner) Joined(dst []Finding, parts ...[]byte) []Finding {
	w := s.worker(dst)
	defer s.release(w)
	total, first := int64(0), len(dst)
	look := func() {
		if len(w.borders) > 0 {
			w.pieces(w.joined, total-int64(len(w.joined)))
			first = w.straddling(first, total-int64(len(w.joined)))
		}
		w.joined, w.borders = w.joined[:0], w.borders[:0]
	}
	w.joined = w.joined[:0]
	for _, p := range parts {
		if len(p) > 0 && len(w.joined) > 0 {
			w.borders = append(w.borders, total)
		}
		if len(p) > 2*beside {
			w.joined = append(w.joined, p[:beside]...)
			total += beside
			look()
			total += int64(len(p) - 2*beside)
			p = p[len(p)-beside:]
		}
		w.joined = append(w.joined, p...)
		total += int64(len(p))
	}
	look()
	return w.found
}

func (s *Scanner) worker(dst []Finding) *worker {
	w := s.workers.Get().(*worker)
	w.found, w.first = dst, len(dst)
	return w
}

func (s *Scanner) release(w *worker) {
	w.found, w.borders = nil, w.borders[:0]
	if cap(w.joined) > window {
		w.joined = nil
	}
	s.workers.Put(w)
}
