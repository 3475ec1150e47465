package shape

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// maxMemory bounds what one automaton remembers, in bytes. Past it the states are forgotten and built
// anew, so that text made to visit many of them costs time, never memory: the rules that come
// with the program could fill 30 MB so, and come to 1.1 MB over all of Go's source.
const maxMemory = 96 << 10

// A dfa is one expression as a deterministic automaton whose states are built when text first
// reaches them. It says where the match that the regexp package would choose ends, at a few
// nanoseconds a byte, where that package takes a hundred: most text that holds a rule's keyword dies
// in a dfa within a few bytes. It is safe for concurrent use.
//
// It reads runes as the regexp package does: a byte that is no UTF-8 is U+FFFD, one byte wide.
type dfa struct {
	prog    *syntax.Prog
	sets    []int    // of an instruction that reads a rune: which of the distinct sets it reads
	member  [][]bool // [class][set]: the runes of the class are in the set
	ascii   [utf8.RuneSelf]uint16
	above   []span // the classes of the runes past ASCII, in order
	end     int    // the class that stands for the end of the text
	floats  bool   // a match may start at any position, not at the first alone
	word    []bool // [class]: the class is of word characters, as \b means them
	newline int    // the class of '\n' where lines matter, or -1

	mu     sync.Mutex
	states atomic.Pointer[states]
}

// span is the runes from lo up to the next span's, all of one class.
type span struct {
	lo    rune
	class uint16
}

type states struct {
	known map[string]*state
	size  int       // bytes, about
	start [4]*state // by the kind of what stands before: see before
}

// A state is what the automaton knows after some runes: the instructions that may go on, the
// preferred ones first, and what the last rune was, which assertions look at.
type state struct {
	pcs     []uint32
	before  before
	matched bool // a match ended before the last rune
	next    []atomic.Pointer[state]
}

// stateSize is a state and its place in the map, in bytes.
const stateSize = 160

// before is what stands left of a position.
type before uint8

const (
	atBegin before = iota
	afterWord
	afterLine
	afterOther
)

// newDFA compiles an expression. With floats set a match may begin anywhere.
func newDFA(re *syntax.Regexp, floats bool) (*dfa, error) {
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	d := &dfa{prog: prog, floats: floats, newline: -1}
	d.classify()
	d.forget()
	return d, nil
}

// anyOf returns a floating automaton for any of some expressions, nil where they have none.
func anyOf(regexes []string) *dfa {
	re, err := syntax.Parse("(?:"+strings.Join(regexes, ")|(?:")+")", syntax.Perl)
	if err != nil {
		return nil
	}
	d, err := newDFA(re, true)
	if err != nil {
		return nil
	}
	return d
}

// finds reports whether a floating automaton's expression matches anywhere in text. That of a
// nil one matches nowhere: an allowance that can't be asked allows nothing.
func (d *dfa) finds(text []byte) bool {
	if d == nil {
		return false
	}
	end, _ := d.match(text, 0, len(text))
	return end >= 0
}

// classify finds the classes: runes that no instruction and no assertion tells apart.
func (d *dfa) classify() {
	var sets [][]rune // distinct sets, each as pairs lo, hi
	index := map[string]int{}
	d.sets = make([]int, len(d.prog.Inst))
	add := func(set []rune) int {
		key := string(set)
		i, ok := index[key]
		if !ok {
			i = len(sets)
			index[key] = i
			sets = append(sets, set)
		}
		return i
	}
	for pc, in := range d.prog.Inst {
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			d.sets[pc] = add(runesOf(in))
		}
	}
	word := add([]rune{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'})
	line := add([]rune{'\n', '\n'})

	cuts := []rune{0, utf8.RuneSelf}
	for _, set := range sets {
		for i := 0; i < len(set); i += 2 {
			cuts = append(cuts, set[i], set[i+1]+1)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	classes := map[string]uint16{}
	for _, lo := range cuts {
		if lo > unicode.MaxRune {
			break
		}
		row := make([]bool, len(sets))
		key := make([]byte, len(sets))
		for i, set := range sets {
			row[i] = has(set, lo)
			if row[i] {
				key[i] = 1
			}
		}
		class, ok := classes[string(key)]
		if !ok {
			class = uint16(len(d.member))
			classes[string(key)] = class
			d.member = append(d.member, row)
			d.word = append(d.word, row[word])
			if row[line] {
				d.newline = int(class)
			}
		}
		d.above = append(d.above, span{lo, class})
	}
	for c := range d.ascii {
		d.ascii[c] = d.classAbove(rune(c))
	}
	d.end = len(d.member)
}

// runesOf returns the runes that an instruction reads, as pairs lo, hi.
func runesOf(in syntax.Inst) []rune {
	switch in.Op {
	case syntax.InstRuneAny:
		return []rune{0, unicode.MaxRune}
	case syntax.InstRuneAnyNotNL:
		return []rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune}
	}
	if len(in.Rune) != 1 {
		return in.Rune
	}
	r := in.Rune[0]
	set := []rune{r, r}
	if syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			set = append(set, f, f)
		}
	}
	return set
}

func has(set []rune, r rune) bool {
	for i := 0; i < len(set); i += 2 {
		if set[i] <= r && r <= set[i+1] {
			return true
		}
	}
	return false
}

func (d *dfa) classAbove(r rune) uint16 {
	i, ok := slices.BinarySearchFunc(d.above, r, func(s span, r rune) int { return int(s.lo - r) })
	if !ok {
		i--
	}
	return d.above[i].class
}

// forget drops every state. Searches under way keep those they hold.
func (d *dfa) forget() *states {
	all := &states{known: map[string]*state{}}
	for b := range all.start {
		all.start[b] = d.intern(all, []uint32{uint32(d.prog.Start)}, before(b), false)
	}
	d.states.Store(all)
	return all
}

// match runs over text[start:limit] as if it ended at limit, and returns the end of the match that
// begins at start, or -1, and where it stopped reading. A floating dfa stops at the first
// sign of a match anywhere, and the end it returns is only known to be no less than 0.
func (d *dfa) match(text []byte, start, limit int) (end, read int) {
	s := d.states.Load().start[d.leftOf(text, start)]
	end = -1
	i := start
	for {
		var class, width int
		switch {
		case i >= limit:
			class = d.end
		case text[i] < utf8.RuneSelf:
			class, width = int(d.ascii[text[i]]), 1
		default:
			r, n := utf8.DecodeRune(text[i:limit])
			class, width = int(d.classAbove(r)), n
		}
		next := s.next[class].Load()
		if next == nil {
			next = d.step(s, class)
		}
		if next.matched {
			end = i
			if d.floats {
				return end, i
			}
		}
		if class == d.end || len(next.pcs) == 0 && !d.floats {
			return end, i
		}
		i += width
		s = next
	}
}

func (d *dfa) leftOf(text []byte, i int) before {
	switch {
	case i == 0:
		return atBegin
	case text[i-1] == '\n':
		return afterLine
	case text[i-1] < utf8.RuneSelf && d.word[d.ascii[text[i-1]]]:
		return afterWord
	}
	return afterOther
}

// step works out where a class leads and remembers it.
func (d *dfa) step(s *state, class int) *state {
	d.mu.Lock()
	defer d.mu.Unlock()
	if next := s.next[class].Load(); next != nil {
		return next
	}
	var flags syntax.EmptyOp
	word := class != d.end && d.word[class]
	if word != (s.before == afterWord) {
		flags |= syntax.EmptyWordBoundary
	} else {
		flags |= syntax.EmptyNoWordBoundary
	}
	switch s.before {
	case atBegin:
		flags |= syntax.EmptyBeginText | syntax.EmptyBeginLine
	case afterLine:
		flags |= syntax.EmptyBeginLine
	}
	if class == d.end {
		flags |= syntax.EmptyEndText | syntax.EmptyEndLine
	}
	if class == d.newline {
		flags |= syntax.EmptyEndLine
	}

	w := walk{d: d, class: class, flags: flags, seen: make([]bool, len(d.prog.Inst)), out: make([]bool, len(d.prog.Inst))}
	for _, pc := range s.pcs {
		if w.visit(pc) {
			break // what comes after is less preferred than the match
		}
	}
	if d.floats && class != d.end {
		w.emit(uint32(d.prog.Start))
	}
	if d.floats {
		slices.Sort(w.next) // whether there is a match does not depend on what is preferred
	}
	after := afterOther
	switch {
	case word:
		after = afterWord
	case class == d.newline:
		after = afterLine
	}
	all := d.states.Load()
	if all.size >= maxMemory {
		all = d.forget()
	}
	next := d.intern(all, w.next, after, w.matched)
	s.next[class].Store(next)
	return next
}

// intern returns the one state that is so.
func (d *dfa) intern(all *states, pcs []uint32, b before, matched bool) *state {
	key := make([]byte, 0, 4*len(pcs)+2)
	for _, pc := range pcs {
		key = binary.LittleEndian.AppendUint32(key, pc)
	}
	key = append(key, byte(b), 0)
	if matched {
		key[len(key)-1] = 1
	}
	if s, ok := all.known[string(key)]; ok {
		return s
	}
	s := &state{pcs: pcs, before: b, matched: matched, next: make([]atomic.Pointer[state], d.end+1)}
	all.known[string(key)] = s
	all.size += 2*len(key) + 8*len(s.next) + stateSize
	return s
}

// walk follows one state's instructions over one class.
type walk struct {
	d       *dfa
	class   int
	flags   syntax.EmptyOp
	seen    []bool
	out     []bool
	next    []uint32
	matched bool
}

// visit follows pc without reading anything, in order of preference, and reports whether it met a match.
func (w *walk) visit(pc uint32) bool {
	if w.seen[pc] {
		return false
	}
	w.seen[pc] = true
	in := &w.d.prog.Inst[pc]
	switch in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return w.visit(in.Out) || w.visit(in.Arg)
	case syntax.InstCapture, syntax.InstNop:
		return w.visit(in.Out)
	case syntax.InstEmptyWidth:
		return syntax.EmptyOp(in.Arg)&^w.flags == 0 && w.visit(in.Out)
	case syntax.InstMatch:
		w.matched = true
		return true
	case syntax.InstFail:
		return false
	}
	if w.class != w.d.end && w.d.member[w.class][w.d.sets[pc]] {
		w.emit(in.Out)
	}
	return false
}

func (w *walk) emit(pc uint32) {
	if !w.out[pc] {
		w.out[pc] = true
		w.next = append(w.next, pc)
	}
}
