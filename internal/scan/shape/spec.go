package shape

// A spec is one rule as data. Those of the sets that come with the program are generated Go values,
// which cost nothing before they are used: see rules_gen.go.
type spec struct {
	id, description string
	regex           string
	group           int     // which capture is the secret; 0: the first that is not empty
	entropy         float64 // bits a character that the secret must exceed, 0: any
	allow           []allowance
	entire          bool // the captures are parts of the secret, which is all of the match
	ours            bool // gives way to a finding of gitleaks' rules that holds its own

	// What analyse works out of the regex and the keywords.
	find     strategy
	literals []string // folded; by find: a match begins with one, or holds one
	lead     int      // a match may begin up to so many [\w.-] before its literal
	reach    int      // the longest match in bytes, MaxWindow at most
	run      runOf    // every match holds such a run; n is 0 where none is known
	gate     []string // folded keywords of which the text must hold one somewhere; empty: no condition
}

// strategy is how candidates for a rule are found.
type strategy uint8

const (
	fromPrefix strategy = iota // at each literal, a match is tried there
	aroundWord                 // near each literal, a match is searched
	aroundRun                  // near each run of characters, once the gate is open
	everywhere                 // in all of the text, once the gate is open
)

// runOf is at least n ASCII characters of a set in a row.
type runOf struct {
	set [2]uint64
	n   int
}

func (r *runOf) has(c byte) bool { return c < 128 && r.set[c>>6]>>(c&63)&1 != 0 }

// allowance is a reason not to report what matched: gitleaks' allowlist.
type allowance struct {
	all       bool // every check given must agree; otherwise one is enough
	never     bool // all, with a check that this package has no answer to: a path, a commit
	target    target
	regexes   []string
	stopwords string // folded words, one a line
}

// target is what an allowance's regexes look at.
type target uint8

const (
	theSecret target = iota
	theMatch
	theLine
)
