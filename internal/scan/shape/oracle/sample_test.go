package oracle

import (
	"maps"
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// sample writes a random text that the expression matches, where assertions allow.
func sample(b *strings.Builder, re *syntax.Regexp, r *rand.Rand) {
	times := func(lo, hi int) {
		n := lo
		if hi > lo {
			n += r.IntN(hi - lo + 1)
		}
		for range n {
			sample(b, re.Sub[0], r)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && r.IntN(2) == 0 && c < 128 {
				c = unicode.ToUpper(c)
			}
			b.WriteRune(c)
		}
	case syntax.OpCharClass:
		b.WriteRune(pick(re.Rune, r))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(" abcxyz019-_=:\"'.{}<>|/"[r.IntN(23)])
	case syntax.OpCapture:
		sample(b, re.Sub[0], r)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			sample(b, sub, r)
		}
	case syntax.OpAlternate:
		sample(b, re.Sub[r.IntN(len(re.Sub))], r)
	case syntax.OpQuest:
		times(0, 1)
	case syntax.OpStar:
		times(0, 12)
	case syntax.OpPlus:
		times(1, 12)
	case syntax.OpRepeat:
		hi := re.Max
		if hi < 0 {
			hi = re.Min + 12
		}
		times(re.Min, hi)
	}
}

// pick returns an ASCII rune of the class that can be seen or is a space, if there is one.
func pick(class []rune, r *rand.Rand) rune {
	var seen []rune
	for c := rune(0); c < 128; c++ {
		for i := 0; i < len(class); i += 2 {
			if class[i] <= c && c <= class[i+1] && (unicode.IsPrint(c) || c == '\n') {
				seen = append(seen, c)
			}
		}
	}
	if len(seen) == 0 {
		return class[0]
	}
	return seen[r.IntN(len(seen))]
}

// TestGenerated compares texts made of what the rules match: whole, cut, changed and run together.
func TestGenerated(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	rules := detector().Config.Rules
	ids := slices.Sorted(maps.Keys(rules))
	between := []string{"", " ", "\n", "\"", "';", ", ", "=", "x", "-", "_", ".", "é", "\xff", " key = ", "\ntoken: \"", "\n\n", "curl "}
	piece := func() string {
		rule := rules[ids[r.IntN(len(ids))]]
		if rule.Regex == nil || rule.Path != nil {
			return ""
		}
		re, err := syntax.Parse(rule.Regex.String(), syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		sample(&b, re, r)
		s := b.String()
		switch r.IntN(8) {
		case 0:
			s = s[:r.IntN(len(s)+1)]
		case 1:
			s = s[r.IntN(len(s)+1):]
		case 2:
			if len(s) > 0 {
				i := r.IntN(len(s))
				s = s[:i] + between[r.IntN(len(between))] + s[i:]
			}
		}
		if len(rule.Keywords) > 0 && r.IntN(2) == 0 {
			s = rule.Keywords[r.IntN(len(rule.Keywords))] + between[r.IntN(len(between))] + s
		}
		return s
	}
	total, shown := 0, 0
	for range 6000 {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteString(between[r.IntN(len(between))])
			b.WriteString(piece())
		}
		b.WriteString(between[r.IntN(len(between))])
		missing, extra, common := compare([]byte(b.String()))
		total += common
		for _, m := range append(missing, extra...) {
			if shown++; shown < 15 {
				t.Errorf("%.300s\nin %.900q\nmissing %d, extra %d", m, b.String(), len(missing), len(extra))
			}
		}
	}
	t.Logf("%d findings in common, %d differences; explained so far: %v", total, shown, reasons)
	if total < 5000 {
		t.Errorf("only %d findings in common", total)
	}
}
