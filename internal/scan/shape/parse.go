package shape

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// file is gitleaks' configuration file, as far as it has a meaning for text without a file name.
type file struct {
	Title, Description, MinVersion string
	Rules                          []fileRule
	Allowlist                      *fileAllowlist
	Allowlists                     []fileAllowlist
}

type fileRule struct {
	ID, Description, Regex, Path string
	SecretGroup                  int
	Entropy                      float64
	Keywords, Tags               []string
	Allowlist                    *fileAllowlist // the older spelling
	Allowlists                   []fileAllowlist
}

type fileAllowlist struct {
	Description, Condition, RegexTarget             string
	Commits, Paths, Regexes, StopWords, TargetRules []string
}

// Parse reads rules in the format of gitleaks' configuration file
// (https://github.com/gitleaks/gitleaks#configuration): id, description, regex, entropy, keywords,
// secretGroup and allowlists. A path is ignored, since the text scanned has none: such a rule looks
// at all text, and an allowlist of paths or commits allows nothing. What is not understood is an
// error, and all errors are told at once, each with the file's name and the line.
func Parse(text []byte, name string) (*Rules, error) {
	f, specs, err := parse(text, name)
	if err != nil {
		return nil, err
	}
	if err := f.aim(specs, name); err != nil {
		return nil, err
	}
	all := make([]*rule, len(specs))
	for i := range specs {
		all[i] = &rule{spec: &specs[i]}
	}
	return newRules(all), nil
}

// aim gives each rule the file's allowlists that are for it.
func (f *file) aim(specs []spec, name string) error {
	lists := f.Allowlists
	if f.Allowlist != nil {
		lists = append(lists, *f.Allowlist)
	}
	var errs []error
	for _, list := range lists {
		al, err := list.allowance()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: allowlists: %w", name, err))
			continue
		}
		for _, id := range list.TargetRules {
			if !slices.ContainsFunc(specs, func(s spec) bool { return s.id == id }) {
				errs = append(errs, fmt.Errorf("%s: allowlists: targetRules names %q, a rule that this file does not have", name, id))
			}
		}
		for i := range specs {
			if len(list.TargetRules) == 0 || slices.Contains(list.TargetRules, specs[i].id) {
				specs[i].allow = append(specs[i].allow, al)
			}
		}
	}
	return errors.Join(errs...)
}

// parse reads a file and analyses its rules; the allowlists of the file are the caller's matter.
func parse(text []byte, name string) (*file, []spec, error) {
	var f file
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, nil, decodeError(name, err)
	}
	lines := ruleLines(text)
	var errs []error
	seen := map[string]bool{}
	specs := make([]spec, 0, len(f.Rules))
	for i, fr := range f.Rules {
		s, err := fr.spec()
		if err == nil && seen[s.id] {
			err = errors.New("another rule has this id")
		}
		if err != nil {
			where := name
			if i < len(lines) {
				where = fmt.Sprintf("%s:%d", name, lines[i])
			}
			errs = append(errs, fmt.Errorf("%s: rule %q: %w", where, fr.ID, err))
			continue
		}
		seen[s.id] = true
		specs = append(specs, s)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return &f, specs, nil
}

// decodeError puts the file and the line before what the TOML decoder says.
func decodeError(name string, err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var errs []error
		for _, e := range strict.Errors {
			line, column := e.Position()
			errs = append(errs, fmt.Errorf("%s:%d:%d: unknown key %q", name, line, column, strings.Join(e.Key(), ".")))
		}
		return errors.Join(errs...)
	}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		line, column := at.Position()
		return fmt.Errorf("%s:%d:%d: %w", name, line, column, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// ruleLines returns the line of each [[rules]].
func ruleLines(text []byte) []int {
	var lines []int
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.ArrayTable {
			continue
		}
		key := e.Key()
		if !key.Next() || !strings.EqualFold(string(key.Node().Data), "rules") || !key.IsLast() {
			continue
		}
		lines = append(lines, p.Shape(key.Node().Raw).Start.Line)
	}
	return lines
}

// spec checks a rule and works out how to find it.
func (f fileRule) spec() (spec, error) {
	s := spec{id: f.ID, description: f.Description, regex: f.Regex, group: f.SecretGroup, entropy: f.Entropy}
	if strings.TrimSpace(f.ID) == "" {
		return s, errors.New("it has no id")
	}
	if f.Regex == "" {
		return s, errors.New("it has no regex; a rule about a file's name finds nothing in text that has none")
	}
	re, err := syntax.Parse(f.Regex, syntax.Perl)
	if err != nil {
		return s, err
	}
	if f.SecretGroup < 0 || f.SecretGroup > re.MaxCap() {
		return s, fmt.Errorf("secretGroup is %d, and the regex has %d groups", f.SecretGroup, re.MaxCap())
	}
	compiled, err := regexp.Compile(f.Regex)
	if err != nil {
		return s, err
	}
	if compiled.MatchString("") {
		return s, errors.New("the regex matches nothing at all, the empty text")
	}
	if f.Allowlist != nil {
		f.Allowlists = append(f.Allowlists, *f.Allowlist)
	}
	for _, a := range f.Allowlists {
		al, err := a.allowance()
		if err != nil {
			return s, fmt.Errorf("allowlists: %w", err)
		}
		s.allow = append(s.allow, al)
	}
	var keywords []string
	for _, k := range f.Keywords {
		if k != "" {
			keywords = append(keywords, k)
		}
	}
	return s, s.analyse(keywords)
}

func (f fileAllowlist) allowance() (allowance, error) {
	var a allowance
	switch strings.ToUpper(f.Condition) {
	case "", "OR", "||":
	case "AND", "&&":
		a.all = true
		a.never = len(f.Paths) > 0 || len(f.Commits) > 0
	default:
		return a, fmt.Errorf("condition is %q; it may be AND or OR", f.Condition)
	}
	switch f.RegexTarget {
	case "", "secret":
	case "match":
		a.target = theMatch
	case "line":
		a.target = theLine
	default:
		return a, fmt.Errorf("regexTarget is %q; it may be secret, match or line", f.RegexTarget)
	}
	for _, s := range f.Regexes {
		if _, err := regexp.Compile(s); err != nil {
			return a, err
		}
	}
	a.regexes = f.Regexes
	var words []string
	for _, w := range f.StopWords {
		if w == "" || strings.Contains(w, "\n") {
			return a, fmt.Errorf("the stopword %q is empty or has a line break in it", w)
		}
		words = append(words, lower(w))
	}
	a.stopwords = strings.Join(unique(words), "\n")
	if len(f.Regexes)+len(words)+len(f.Paths)+len(f.Commits) == 0 {
		return a, errors.New("it checks nothing: give it regexes or stopwords")
	}
	return a, nil
}
