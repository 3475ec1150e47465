package shape

import (
	"slices"
	"sync"
)

// MaxWindow is the longest match looked at, in bytes. A caller that scans a stream in pieces keeps
// so much of the end of a piece and puts it before the next one.
const MaxWindow = 16 << 10

// Match is one finding. Offsets are bytes in the text given to Find.
type Match struct {
	Rule                   string  // the rule's id
	Start, End             int     // all that matched: the name it was assigned to, the quotes
	SecretStart, SecretEnd int     // the credential in it
	Entropy                float64 // of the credential, bits a character
}

// Rules is a set of rules. It is immutable and safe for concurrent use.
type Rules struct {
	rules  []*rule
	lits   literals
	sweeps []int32 // the rules that no literal finds
	pool   sync.Pool
}

// Default returns gitleaks' rules and this program's own, made at the first call.
func Default() *Rules { return defaults() }

var defaults = sync.OnceValue(func() *Rules {
	all := make([]*rule, 0, len(gitleaksSpecs)+len(ownSpecs))
	for i := range gitleaksSpecs {
		all = append(all, &rule{spec: &gitleaksSpecs[i]})
	}
	for i := range ownSpecs {
		all = append(all, &rule{spec: &ownSpecs[i]})
	}
	return newRules(all)
})

// newRules makes the tables over the rules, which it keeps.
func newRules(all []*rule) *Rules {
	r := &Rules{rules: all}
	for i, ru := range all {
		id := int32(i)
		as := begins
		if ru.find == aroundWord {
			as = within
		}
		inOrder := ordered(ru.literals)
		for _, lit := range ru.literals {
			anchor := 0
			if inOrder {
				anchor = rarest(lit)
			}
			r.lits.add(lit, anchor, use{id, as})
		}
		for _, k := range ru.gate {
			r.lits.add(k, rarest(k), use{id, opens})
		}
		if ru.find == aroundRun || ru.find == everywhere {
			r.sweeps = append(r.sweeps, id)
		}
	}
	r.pool.New = func() any { return newSearch(r) }
	return r
}

// ordered reports whether the strings' rarest three bytes meet the eye in the order in which the
// strings begin, however they overlap: a rule's candidates must come in order.
func ordered(set []string) bool {
	for _, a := range set {
		for _, b := range set {
			for k := 1; k < len(a); k++ {
				n := min(len(a)-k, len(b))
				if a[k:k+n] == b[:n] && k+rarest(b) <= rarest(a) {
					return false
				}
			}
		}
	}
	return true
}

// And returns a set of r's rules and more's.
func (r *Rules) And(more *Rules) *Rules {
	return newRules(slices.Concat(r.rules, more.rules))
}

// Len returns the number of rules.
func (r *Rules) Len() int { return len(r.rules) }

// Describe returns what the rule's author says about it, "" for an id that no rule has.
func (r *Rules) Describe(id string) string {
	for _, ru := range r.rules {
		if ru.id == id {
			return ru.description
		}
	}
	return ""
}
