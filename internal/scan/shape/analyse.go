package shape

import (
	"fmt"
	"math"
	"math/bits"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxLiterals = 64  // strings a rule may be looked for by
	minLiteral  = 3   // bytes of the shortest of them
	longEnough  = 6   // past so many bytes a longer literal rejects no more
	rareEnough  = 3.4 // the score from which on literals beat a search at every run
	minRun      = 12  // characters of a run that ordinary text does not hold everywhere
)

// analyse works out how to find a rule's candidates, so that every match of the expression is met
// by the strategy chosen: the keywords a rule's author wrote are a condition on the text, as
// they are to gitleaks, but never what decides where to look.
func (s *spec) analyse(keywords []string) error {
	re, err := syntax.Parse(s.regex, syntax.Perl)
	if err != nil {
		return err
	}
	s.entire = s.group == 0 && partial(re)
	lead, rest := splitLead(re)
	s.reach = MaxWindow
	if n := maxLen(re); n >= 0 && n < MaxWindow {
		s.reach = n
	}
	for i, k := range keywords {
		keywords[i] = lower(k)
	}
	holds := func(set []string) bool {
		return len(keywords) == 0 || len(set) > 0 && !slices.ContainsFunc(set, func(lit string) bool {
			return !slices.ContainsFunc(keywords, func(k string) bool { return strings.Contains(lit, k) })
		})
	}
	prefix, _ := expand(rest)
	inner := bestInner(re)
	s.run = longestRun(re)
	if s.run.n < minRun {
		s.run = runOf{}
	}
	s.gate = keywords
	switch {
	case usable(prefix) && holds(prefix):
		s.find, s.literals, s.lead, s.gate = fromPrefix, prefix, lead, nil
	case usable(inner) && holds(inner):
		s.find, s.literals, s.gate = aroundWord, inner, nil
	case s.run.n > 0 && len(keywords) > 0 && max(score(prefix), score(inner)) < rareEnough:
		s.find = aroundRun
	case usable(prefix) && score(prefix) >= score(inner):
		s.find, s.literals, s.lead = fromPrefix, prefix, lead
	case usable(inner):
		s.find, s.literals = aroundWord, inner
	case s.run.n > 0:
		s.find = aroundRun
	default:
		s.find = everywhere
	}
	for _, k := range s.gate {
		if len(k) < minLiteral {
			return fmt.Errorf("the keyword %q is shorter than %d characters and the regex holds no longer text to look for", k, minLiteral)
		}
	}
	return nil
}

// partial reports whether the first capture can't be meant as the secret, because it is repeated or
// has a name.
func partial(re *syntax.Regexp) bool {
	if re.Op == syntax.OpCapture && re.Cap == 1 {
		return re.Name != ""
	}
	repeats := re.Op == syntax.OpRepeat && re.Max != 1 || re.Op == syntax.OpStar || re.Op == syntax.OpPlus
	return slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool {
		return partial(sub) || repeats && sub.Op == syntax.OpCapture && sub.Cap == 1
	})
}

// splitLead takes the [\w.-]{0,n} off the front that most of gitleaks' rules begin with: it decides
// only where a match begins, which is found faster by walking back from the literal behind it.
func splitLead(re *syntax.Regexp) (lead int, rest *syntax.Regexp) {
	subs := flatten(re)
	for len(subs) > 1 {
		r := subs[0]
		if r.Op != syntax.OpRepeat || r.Min != 0 || r.Max < 0 || r.Sub[0].Op != syntax.OpCharClass || !isLead(r.Sub[0].Rune) {
			break
		}
		lead += r.Max
		subs = subs[1:]
	}
	if lead == 0 {
		return 0, re
	}
	return lead, &syntax.Regexp{Op: syntax.OpConcat, Sub: subs, Flags: re.Flags}
}

// isLead reports whether the set is [\w.-], with what (?i) adds to it.
func isLead(set []rune) bool {
	for c := rune(0); c < utf8.RuneSelf; c++ {
		if has(set, c) != leading(byte(c)) {
			return false
		}
	}
	return onlyFolds(set)
}

func leading(c byte) bool { return isWord(c) || c == '.' || c == '-' }

func isWord(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '_'
}

// onlyFolds reports whether the set holds no rune past ASCII but the long s and the Kelvin sign,
// which (?i) takes for an s and a k. A rule is not looked for by those spellings.
func onlyFolds(set []rune) bool {
	for i := 0; i < len(set); i += 2 {
		for r := max(set[i], utf8.RuneSelf); r <= set[i+1]; r++ {
			if r != '\u017f' && r != '\u212a' {
				return false
			}
		}
	}
	return true
}

// flatten returns the parts of a concatenation, those of a concatenation inside among them.
func flatten(re *syntax.Regexp) []*syntax.Regexp {
	if re.Op != syntax.OpConcat {
		return []*syntax.Regexp{re}
	}
	var subs []*syntax.Regexp
	for _, sub := range re.Sub {
		subs = append(subs, flatten(sub)...)
	}
	return subs
}

// expand returns folded strings of which one begins every match. exact means that the strings are
// whole matches, so that what follows may be appended to them.
func expand(re *syntax.Regexp) (set []string, exact bool) {
	none := []string{""}
	switch re.Op {
	case syntax.OpLiteral:
		for i, r := range re.Rune {
			if r >= utf8.RuneSelf { // it may have other spellings, in more or fewer bytes
				return []string{lower(string(re.Rune[:i]))}, false
			}
		}
		return []string{lower(string(re.Rune))}, true
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return none, true
	case syntax.OpCharClass:
		return expandClass(re.Rune)
	case syntax.OpCapture:
		return expand(re.Sub[0])
	case syntax.OpConcat:
		return expandConcat(re.Sub)
	case syntax.OpAlternate:
		exact = true
		for _, sub := range re.Sub {
			s, e := expand(sub)
			set = append(set, s...)
			exact = exact && e
		}
		return unique(set), exact
	case syntax.OpQuest:
		s, e := expand(re.Sub[0])
		return unique(append(s, "")), e
	case syntax.OpPlus:
		s, _ := expand(re.Sub[0])
		return s, false
	case syntax.OpRepeat:
		if re.Min == 0 {
			return none, false
		}
		n := min(re.Min, longEnough)
		subs := make([]*syntax.Regexp, n)
		for i := range subs {
			subs[i] = re.Sub[0]
		}
		s, e := expandConcat(subs)
		return s, e && re.Min == re.Max && n == re.Min
	}
	return none, false
}

func expandConcat(subs []*syntax.Regexp) (set []string, exact bool) {
	set = []string{""}
	for _, sub := range subs {
		next, e := expand(sub)
		shortest := shortestOf(set)
		if len(next) > 1 && shortest >= longEnough || len(next) > 4 && shortest >= minLiteral || len(set)*len(next) > maxLiterals {
			return set, false
		}
		var product []string
		for _, a := range set {
			for _, b := range next {
				product = append(product, a+b)
			}
		}
		set = unique(product)
		if !e {
			return set, false
		}
	}
	return set, true
}

func expandClass(class []rune) (set []string, exact bool) {
	if !onlyFolds(class) {
		return []string{""}, false
	}
	for c := rune(0); c < utf8.RuneSelf; c++ {
		if has(class, c) {
			set = append(set, lower(string(c)))
		}
	}
	set = unique(set)
	if len(set) > maxLiterals {
		return []string{""}, false
	}
	return set, true
}

// bestInner returns the best set of folded strings of which every match holds one, or nil.
func bestInner(re *syntax.Regexp) []string {
	var best []string
	try := func(set []string) {
		if usable(set) && (best == nil || score(set) > score(best)) {
			best = set
		}
	}
	switch re.Op {
	case syntax.OpCapture:
		try(bestInner(re.Sub[0]))
	case syntax.OpRepeat, syntax.OpPlus:
		if re.Op == syntax.OpPlus || re.Min > 0 {
			try(bestInner(re.Sub[0]))
		}
	case syntax.OpConcat:
		for i, sub := range re.Sub {
			set, _ := expandConcat(re.Sub[i:])
			try(set)
			try(bestInner(sub))
		}
	case syntax.OpAlternate:
		var union []string
		for _, sub := range re.Sub {
			set := bestInner(sub)
			if set == nil {
				return nil
			}
			union = append(union, set...)
		}
		try(unique(union))
	default:
		set, _ := expand(re)
		try(set)
	}
	return best
}

func usable(set []string) bool {
	return len(set) > 0 && len(set) <= maxLiterals && shortestOf(set) >= minLiteral
}

// score says how seldom ordinary text holds one of the strings.
func score(set []string) float64 {
	if !usable(set) {
		return -1
	}
	s := float64(min(shortestOf(set), 8)) - math.Log2(float64(len(set)))/2
	for _, lit := range set {
		if strings.HasPrefix(lit, "http") {
			return 0
		}
	}
	return s
}

func shortestOf(set []string) int {
	n := math.MaxInt
	for _, s := range set {
		n = min(n, len(s))
	}
	return n
}

// longestRun returns the longest run of ASCII characters that every match holds.
func longestRun(re *syntax.Regexp) runOf {
	var best runOf
	switch re.Op {
	case syntax.OpCapture, syntax.OpPlus:
		return longestRun(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min == 0 {
			return best
		}
		if re.Sub[0].Op == syntax.OpCharClass && onlyFolds(re.Sub[0].Rune) {
			return runOf{asciiSet(re.Sub[0].Rune), re.Min}
		}
		return longestRun(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if r := longestRun(sub); r.n > best.n {
				best = r
			}
		}
	case syntax.OpAlternate:
		for i, sub := range re.Sub {
			r := longestRun(sub)
			if i == 0 {
				best = r
			}
			best.n = min(best.n, r.n)
			best.set[0] |= r.set[0]
			best.set[1] |= r.set[1]
		}
	}
	return best
}

func asciiSet(class []rune) (set [2]uint64) {
	for c := rune(0); c < utf8.RuneSelf; c++ {
		if has(class, c) {
			set[c>>6] |= 1 << (c & 63)
		}
	}
	return set
}

// maxLen returns the bytes of the longest match, or -1 where there is no longest.
func maxLen(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpLiteral:
		n := 0
		for _, r := range re.Rune {
			n += widest([]rune{r, r}, re.Flags&syntax.FoldCase != 0)
		}
		return n
	case syntax.OpCharClass:
		return widest(re.Rune, false)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return utf8.UTFMax
	case syntax.OpCapture, syntax.OpQuest:
		return maxLen(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus:
		return -1
	case syntax.OpRepeat:
		n := maxLen(re.Sub[0])
		if n < 0 || re.Max < 0 {
			return -1
		}
		return bounded(n, re.Max)
	case syntax.OpConcat:
		sum := 0
		for _, sub := range re.Sub {
			n := maxLen(sub)
			if n < 0 {
				return -1
			}
			sum = min(sum+n, math.MaxInt32)
		}
		return sum
	case syntax.OpAlternate:
		most := 0
		for _, sub := range re.Sub {
			n := maxLen(sub)
			if n < 0 {
				return -1
			}
			most = max(most, n)
		}
		return most
	}
	return 0
}

func bounded(a, b int) int {
	if hi, lo := bits.Mul(uint(a), uint(b)); hi != 0 || lo > math.MaxInt32 {
		return math.MaxInt32
	}
	return a * b
}

func widest(set []rune, fold bool) int {
	r := set[len(set)-1]
	if fold && r < utf8.RuneSelf {
		return 3 // the Kelvin sign
	}
	if r < 0 || r >= utf8.RuneSelf && utf8.RuneLen(r) < 0 {
		return utf8.UTFMax
	}
	return utf8.RuneLen(r)
}

// lower folds ASCII letters and leaves every other byte as it is.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = fold(c)
	}
	return string(b)
}

func unique(set []string) []string {
	slices.Sort(set)
	return slices.Compact(set)
}
