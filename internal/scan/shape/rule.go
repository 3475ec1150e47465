package shape

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// A rule is a spec and what was compiled of it so far. Nothing is before text first asks for it.
type rule struct {
	*spec
	candidate sync.Once
	auto      *dfa // from a literal on, or floating over a window; nil: not to be had

	match  sync.Once
	whole  *regexp.Regexp // the regex as it is written
	groups *regexp.Regexp // the regex without its lead, from the first byte on, or nil
	allows []allower
}

// automaton returns the rule's dfa, or nil where the expression has too many classes or
// instructions for one: the regexp package does the work then.
func (r *rule) automaton() *dfa {
	r.candidate.Do(func() {
		re, err := syntax.Parse(r.regex, syntax.Perl)
		if err != nil {
			return // analyse has parsed it before
		}
		if r.find == fromPrefix && r.lead > 0 {
			_, re = splitLead(re)
		}
		if d, err := newDFA(re, r.find != fromPrefix); err == nil {
			r.auto = d
		}
	})
	return r.auto
}

// compile makes what a match needs after it was found.
func (r *rule) compile() {
	r.match.Do(func() {
		r.whole = regexp.MustCompile(r.regex)
		if re, err := syntax.Parse(r.regex, syntax.Perl); err == nil && r.find == fromPrefix {
			_, rest := splitLead(re)
			if g, err := regexp.Compile(`\A(?:` + rest.String() + `)`); err == nil {
				r.groups = g
			}
		}
		for _, a := range r.allow {
			r.allows = append(r.allows, newAllower(a))
		}
	})
}

// secret returns the part of a match that is the credential. As gitleaks does, it matches the
// expression once more, against the match alone; where that fails the whole match is the credential.
// from is where the literal stands in a match that was found by one, -1 in another.
func (r *rule) secret(match []byte, from int) (start, end int) {
	re := r.groups
	if from < 0 || re == nil {
		re, from = r.whole, 0
	}
	at := re.FindSubmatchIndex(match[from:])
	if len(at) < 4 {
		return 0, len(match)
	}
	if r.group > 0 {
		if at[2*r.group] < 0 {
			return 0, 0
		}
		return from + at[2*r.group], from + at[2*r.group+1]
	}
	for i := 2; i < len(at); i += 2 {
		if at[i] < at[i+1] {
			return from + at[i], from + at[i+1]
		}
	}
	return 0, len(match)
}

// allower is an allowance, compiled.
type allower struct {
	allowance
	re    *dfa // finds any of the regexes
	words *literals
	short []string // stopwords too short for literals
}

func newAllower(a allowance) allower {
	c := allower{allowance: a}
	if len(a.regexes) > 0 {
		c.re = anyOf(a.regexes)
	}
	for w := range strings.SplitSeq(a.stopwords, "\n") {
		switch {
		case w == "":
		case len(w) < minLiteral:
			c.short = append(c.short, w)
		default:
			if c.words == nil {
				c.words = new(literals)
			}
			c.words.add(w, rarest(w), use{})
		}
	}
	return c
}

// allows reports whether the allowance covers a finding. line is what regexTarget line looks at.
func (a *allower) allows(secret, match, line []byte) bool {
	if a.never {
		return false
	}
	in := secret
	switch a.target {
	case theMatch:
		in = match
	case theLine:
		in = line
	}
	byRegex := len(in) > 0 && a.re.finds(in)
	if !a.all {
		return byRegex || a.holdsWord(secret)
	}
	return (byRegex || len(a.regexes) == 0) && (a.stopwords == "" || a.holdsWord(secret))
}

func (a *allower) holdsWord(secret []byte) (yes bool) {
	if a.words != nil {
		a.words.scan(secret, func(*entry, int) bool { yes = true; return false })
	}
	for _, w := range a.short {
		yes = yes || strings.Contains(lower(string(secret)), w)
	}
	return yes
}
