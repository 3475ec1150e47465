package shape

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

const house = `
title = "the house's own"

[[rules]]
id = "house-key"
description = "A key of the house"
regex = '''\bhouse_[a-z0-9]{20}\b'''
keywords = ["house_"]
[[rules.allowlists]]
regexes = ['''^house_0+''']
stopwords = ["Example"]

[[rules]]
id = "house-password"
description = "Any password of the house"
regex = '''pw=([^\s;]{8,})(;)'''
secretGroup = 1
entropy = 2.0
path = '''\.conf$'''
[[rules.allowlists]]
condition = "AND"
regexTarget = "match"
regexes = ['''pw=x''']
stopwords = ["yy"]
[[rules.allowlists]]
condition = "AND"
paths = ['''a''']
regexes = ['''.''']

[[rules]]
id = "house-digits"
description = "A number of the house"
regex = '''[0-9]{24}'''

[[allowlists]]
targetRules = ["house-digits"]
regexTarget = "line"
regexes = ['''public''']
`

func TestParse(t *testing.T) {
	t.Parallel()
	rules, err := Parse([]byte(house), "house.toml")
	if err != nil {
		t.Fatal(err)
	}
	if rules.Len() != 3 || rules.Describe("house-key") != "A key of the house" || rules.Describe("other") != "" {
		t.Errorf("%d rules, described %q", rules.Len(), rules.Describe("house-key"))
	}
	both := Default().And(rules)
	if both.Len() != Default().Len()+3 {
		t.Errorf("%d rules together", both.Len())
	}
	for text, want := range map[string]string{
		"a house_abcdefghij0123456789 b":        "house-key house_abcdefghij0123456789",
		"a HOUSE_abcdefghij0123456789 b":        "",
		"a house_00000000000000000000 b":        "",
		"a house_abcEXAMPLEj0123456789 b":       "",
		"a house_abcexample00123456789 b":       "",
		"pw=correcthorse;":                      "house-password correcthorse",
		"pw=xyyrrecthorse;":                     "",
		"pw=x1rrecthorse;":                      "house-password x1rrecthorse",
		"pw=aaaaaaaaaaa;":                       "",
		"123456789012345678901234":              "house-digits 123456789012345678901234",
		"public\n123456789012345678901234":      "house-digits 123456789012345678901234",
		"of public: 123456789012345678901234 x": "",
	} {
		var got []string
		for _, m := range both.Find(nil, []byte(text)) {
			got = append(got, m.Rule+" "+text[m.SecretStart:m.SecretEnd])
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%q: found %q, want %q", text, s, want)
		}
	}
}

// TestParseGitleaks reads gitleaks' own file as an operator would: only the rule about a file's
// name is refused.
func TestParseGitleaks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("rules/gitleaks.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse(text, "g.toml")
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), `"pkcs12-file": it has no regex`) {
		t.Errorf("error is %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"toml":          {"a = = 1", []string{"x.toml:1:5: "}},
		"unknown key":   {"[[rules]]\nid='a'\nregx='b'\n[extend]\nuseDefault=true", []string{`x.toml:3:1: unknown key "rules.regx"`, `x.toml:4:2: unknown key "extend"`}},
		"no id":         {"\n[[rules]]\nregex='abc'", []string{`x.toml:2: rule "": it has no id`}},
		"no regex":      {"[[rules]]\nid='a'\npath='b'", []string{`x.toml:1: rule "a": it has no regex`}},
		"two":           {"[[rules]]\nid='a'\nregex='('\n\n[[rules]]\nid='b'\nregex='abc'\nsecretGroup=1", []string{`x.toml:1: rule "a": error parsing regexp`, `x.toml:5: rule "b": secretGroup is 1, and the regex has 0 groups`}},
		"empty match":   {"[[rules]]\nid='a'\nregex='a*'", []string{"matches nothing at all"}},
		"twice":         {"[[rules]]\nid='a'\nregex='abc'\n[[rules]]\nid='a'\nregex='abd'", []string{`x.toml:4: rule "a": another rule has this id`}},
		"condition":     {"[[rules]]\nid='a'\nregex='abc'\n[[rules.allowlists]]\ncondition='XOR'\nregexes=['x']", []string{`condition is "XOR"`}},
		"target":        {"[[rules]]\nid='a'\nregex='abc'\n[rules.allowlist]\nregexTarget='file'\nregexes=['x']", []string{`regexTarget is "file"`}},
		"no check":      {"[[rules]]\nid='a'\nregex='abc'\n[[rules.allowlists]]\ndescription='x'", []string{"it checks nothing"}},
		"stopword":      {"[[rules]]\nid='a'\nregex='abc'\n[[rules.allowlists]]\nstopwords=['']", []string{"the stopword"}},
		"bad allowance": {"[allowlist]\nregexes=['(']\n[[rules]]\nid='a'\nregex='abc'", []string{"x.toml: allowlists: error parsing regexp"}},
		"target rule":   {"[[allowlists]]\ntargetRules=['b']\nregexes=['c']\n[[rules]]\nid='a'\nregex='abc'", []string{`targetRules names "b"`}},
		"short keyword": {"[[rules]]\nid='a'\nregex='.\\d'\nkeywords=['x']", []string{`the keyword "x" is shorter than 3`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(c.text), "x.toml")
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error is %q, want %q in it", err, w)
				}
			}
		})
	}
}

// TestAnalyse shows how expressions are looked for.
func TestAnalyse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		regex    string
		keywords []string
		find     strategy
		literals []string
	}{
		{`\bghp_[a-z]{36}`, []string{"ghp_"}, fromPrefix, []string{"ghp_"}},
		{`(?i)[\w.-]{0,50}?(?:adobe|acrobat)=x`, nil, fromPrefix, []string{"acrobat=x", "adobe=x"}},
		{`SK[0-1]{3}`, []string{"sk"}, fromPrefix, []string{"sk000", "sk001", "sk010", "sk011", "sk100", "sk101", "sk110", "sk111"}},
		{`[a-z]+\.atlas\.`, []string{"atlas"}, aroundWord, []string{".atlas."}},
		{`[a-f0-9]{40}`, []string{"graph"}, aroundRun, nil},
		{`\d.\w`, nil, everywhere, nil},
		{`pass(?:word|phrase)?: .+`, nil, fromPrefix, []string{"pass: ", "password: ", "passphrase: "}},
		{`(?i)straße`, nil, fromPrefix, []string{"stra"}},
		{`(?i)éte`, nil, everywhere, nil},
	} {
		s := spec{regex: c.regex}
		if err := s.analyse(slices.Clone(c.keywords)); err != nil {
			t.Errorf("%s: %v", c.regex, err)
			continue
		}
		slices.Sort(c.literals)
		if s.find != c.find || !slices.Equal(s.literals, c.literals) {
			t.Errorf("%s: strategy %d, literals %q", c.regex, s.find, s.literals)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(house))
	own, err := os.ReadFile("rules/own.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own[bytes.Index(own, []byte("[[rules]]")):])
	text := []byte(english + "house_abcdefghij0123456789 pw=x")
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1<<14 {
			return
		}
		rules, err := Parse(file, "x.toml")
		if err != nil {
			return
		}
		for _, m := range rules.Find(nil, text) {
			if m.Start > m.SecretStart || m.SecretEnd > m.End || m.End > len(text) {
				t.Fatalf("%+v", m)
			}
		}
	})
}
