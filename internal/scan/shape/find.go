package shape

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Find appends what the rules find in text to dst, in the order in which the matches begin. It
// takes time linear in the text, whatever the text.
func (r *Rules) Find(dst []Match, text []byte) []Match {
	s := r.pool.Get().(*search)
	s.run(text)
	dst = s.settle(dst)
	s.reset()
	r.pool.Put(s)
	return dst
}

// search is one Find under way.
type search struct {
	rules     *Rules
	text      []byte
	onLiteral func(*entry, int) bool
	by        []progress // by rule
	touched   []int32    // the rules whose progress is not zero
	found     []finding
}

// progress is how far one rule has come.
type progress struct {
	done       int // no match begins before it
	work       int // bytes read by its automaton
	from, to   int // the window not yet searched, of a rule that searches windows
	seen, open bool
	over       bool // the rest of the text was searched at once
}

type finding struct {
	Match
	rule     int32
	from, to int // the secret as gitleaks captures it
	gone     bool
}

func newSearch(r *Rules) *search {
	s := &search{rules: r, by: make([]progress, len(r.rules))}
	s.onLiteral = s.literal
	return s
}

func (s *search) run(text []byte) {
	s.text = text
	s.rules.lits.scan(text, s.onLiteral)
	for _, id := range s.touched {
		s.flush(id)
	}
	for _, id := range s.rules.sweeps {
		if s.open(id) {
			s.sweep(id)
		}
	}
}

func (s *search) reset() {
	for _, id := range s.touched {
		s.by[id] = progress{}
	}
	s.touched, s.text = s.touched[:0], nil
	clear(s.found)
	if s.found = s.found[:0]; cap(s.found) > 1<<10 {
		s.found = nil
	}
}

// literal takes a place of a string that rules wait for.
func (s *search) literal(e *entry, start int) bool {
	for _, u := range e.uses {
		p := &s.by[u.rule]
		if !p.seen {
			p.seen = true
			s.touched = append(s.touched, u.rule)
		}
		switch u.as {
		case opens:
			p.open = true
		case begins:
			if start >= p.done && !p.over {
				s.try(u.rule, p, start)
			}
		case within:
			s.widen(u.rule, p, start, start+len(e.text))
		}
	}
	return true
}

func (s *search) open(id int32) bool { return len(s.rules.rules[id].gate) == 0 || s.by[id].open }

// patience is how often a rule may read the text, candidates over one another, before it is searched
// in a way that reads it once.
const patience = 4

// try looks for a match that begins at start, the place of a rule's literal.
func (s *search) try(id int32, p *progress, start int) {
	r := s.rules.rules[id]
	auto := r.automaton()
	if auto == nil || p.work > patience*len(s.text)+MaxWindow {
		// The text makes the rule read the same bytes over and over. One search over the rest of it
		// costs more a byte, but no more than that.
		p.over = true
		s.search(id, max(p.done, start-r.lead-1), len(s.text)) // one more, for what \b looks at
		return
	}
	end, read := auto.match(s.text, start, min(len(s.text), start+MaxWindow))
	p.work += read - start
	if end <= start {
		return
	}
	begin := start
	for begin > p.done && start-begin < r.lead && leading(s.text[begin-1]) {
		begin--
	}
	p.done = end
	s.report(id, begin, end, start)
}

// widen puts the surroundings of a literal or a run, in which its matches lie, to the rule's window.
func (s *search) widen(id int32, p *progress, start, end int) {
	reach := s.rules.rules[id].reach + 1
	from, to := max(0, start-reach), min(len(s.text), end+reach)
	if p.to > 0 && from <= p.to {
		p.to = max(p.to, to)
		return
	}
	s.flush(id)
	p.from, p.to = from, to
}

// flush searches a rule's window.
func (s *search) flush(id int32) {
	p := &s.by[id]
	from, to := p.from, p.to
	p.from, p.to = 0, 0
	if from < to {
		s.search(id, from, to)
	}
}

// search reports a rule's matches in text[from:to], which may show no other text's edge to it:
// a window is wider than any match that holds what the window is about.
func (s *search) search(id int32, from, to int) {
	r := s.rules.rules[id]
	if auto := r.automaton(); auto != nil && auto.floats {
		if end, _ := auto.match(s.text, from, to); end < 0 {
			return
		}
	}
	r.compile()
	window := s.text[from:to]
	for _, at := range r.whole.FindAllIndex(window, -1) {
		if at[0] < at[1] {
			s.report(id, from+at[0], from+at[1], -1)
		}
	}
}

// sweep looks for a rule that no literal finds.
func (s *search) sweep(id int32) {
	r := s.rules.rules[id]
	if r.find == everywhere {
		s.search(id, 0, len(s.text))
		return
	}
	p := &s.by[id]
	// Every run of n holds a byte at a multiple of n, so only those are looked at.
	for i := r.run.n - 1; i < len(s.text); {
		if !r.run.has(s.text[i]) {
			i += r.run.n
			continue
		}
		from, to := i, i+1
		for from > 0 && i-from < r.run.n && r.run.has(s.text[from-1]) {
			from--
		}
		for to < len(s.text) && r.run.has(s.text[to]) {
			to++
		}
		if to-from >= r.run.n {
			s.widen(id, p, from, to)
		}
		i = to + r.run.n
	}
	s.flush(id)
}

// report judges a match. from is where the literal stands that it was found by, -1 where none.
func (s *search) report(id int32, start, end, from int) {
	if m, ok := s.rules.rules[id].judge(s.text, start, end, from); ok {
		f := finding{Match: m, rule: id, from: m.SecretStart, to: m.SecretEnd}
		if s.rules.rules[id].entire {
			f.SecretStart, f.SecretEnd = f.Start, f.End
		}
		s.found = append(s.found, f)
	}
}

// settle appends the findings that stand to dst. gitleaks drops a generic rule's finding where one
// of another rule on the same line has its secret in it; a rule of ours gives way to any other
// but a generic one whose secret holds its own.
func (s *search) settle(dst []Match) []Match {
	if len(s.found) == 0 {
		return dst
	}
	slices.SortFunc(s.found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Rule, b.Rule))
	})
	for i := range s.found {
		f := &s.found[i]
		f.gone = !s.open(f.rule) || s.rules.rules[f.rule].ours && s.any(i, func(o *finding) bool {
			return !s.rules.rules[o.rule].ours && !isGeneric(o.Rule) && s.open(o.rule) &&
				o.SecretStart <= f.SecretStart && f.SecretEnd <= o.SecretEnd
		})
	}
	for i := range s.found {
		f := &s.found[i]
		if f.gone || isGeneric(f.Rule) && s.any(i, func(o *finding) bool {
			return !o.gone && !isGeneric(o.Rule) && s.sameLine(f.Start, o.Start) &&
				bytes.Contains(s.text[o.from:o.to], s.text[f.SecretStart:f.SecretEnd])
		}) {
			continue
		}
		dst = append(dst, f.Match)
	}
	return dst
}

// neighbours is how many findings on each side are asked whether they say the same better.
const neighbours = 64

// any reports whether one of the findings about the i-th is so.
func (s *search) any(i int, so func(o *finding) bool) bool {
	for j := max(0, i-neighbours); j < min(len(s.found), i+neighbours+1); j++ {
		if j != i && s.found[j].rule != s.found[i].rule && so(&s.found[j]) {
			return true
		}
	}
	return false
}

func isGeneric(id string) bool { return strings.Contains(lower(id), "generic") }

func (s *search) sameLine(a, b int) bool {
	return bytes.IndexByte(s.text[min(a, b):max(a, b)], '\n') < 0
}
