package manifest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/claude-bottle/claude-bottle/internal/preset"
)

// presetFile is a preset of the operator's own: rules with holes. The holes are filled in the YAML
// tree and the result is decoded as any rule is, so that a rule of a preset can say nothing that one
// of a bottle can't, and what is wrong with it is told with its place.
type presetFile struct {
	name   string
	params []preset.Param
	rules  []*yaml.Node
	// firstLine is the file's line the YAML starts on.
	firstLine int
}

// maxRules bounds what one use of a preset comes to.
const maxRules = 256

// hole is where a value goes.
var hole = regexp.MustCompile(`\{\{ *([^{} ]*) *\}\}`)

// preset decodes a preset file with sample values in its holes, and keeps its rules as they stand.
func (d *decoder) preset(doc document, name string) presetFile {
	p := presetFile{name: name, firstLine: doc.firstLine}
	root := d.load(doc)
	if root == nil || root.Kind != yaml.MappingNode {
		if len(d.errs) == 0 {
			d.errs = append(d.errs, &Error{Pos: Pos{d.file, doc.firstLine, 1}, Msg: "a preset needs the key \"routes\"", Hint: lookup(KindPreset, "routes").hint()})
		}
		return p
	}
	if _, builtIn := preset.Find(name); builtIn {
		d.errs = append(d.errs, &Error{Pos: Pos{d.file, 1, 1}, Msg: strconv.Quote(name) + " is the name of a built-in preset", Hint: "give the file another name"})
	}
	params, routes := valueOf(root, "parameters"), valueOf(root, "routes")
	sample := d.parameters(&p, params)
	used := map[string]bool{}
	filled := *root
	filled.Content = slices.Clone(root.Content)
	for i := 0; i+1 < len(filled.Content); i += 2 {
		if filled.Content[i+1] == routes {
			filled.Content[i+1] = d.fill(routes, sample, used, place{"routes", "routes"})
		}
	}
	for _, q := range p.params {
		if !used[q.Name] {
			d.fail(params, place{"parameters." + q.Name, ""}, "is used by no rule", "write {{"+q.Name+"}} where its value goes, or remove it")
		}
	}
	var k presetKeys
	d.value(&filled, reflect.ValueOf(&k).Elem(), place{})
	if routes != nil && routes.Kind == yaml.SequenceNode {
		p.rules = routes.Content
	}
	f := &file{kind: KindPreset, path: d.file, at: d.at, errs: d.errs}
	for i, r := range k.Routes {
		f.route(r, place{"routes", "routes"}.item(i))
	}
	d.errs = f.errs
	return p
}

// valueOf is the value of a key in a mapping, nil when it isn't there.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// parameters reads what the file declares, and returns a value for each that stands for any. What
// is wrong in it is told when the whole file is decoded.
func (d *decoder) parameters(p *presetFile, n *yaml.Node) map[string]string {
	sample := map[string]string{}
	if n == nil {
		return sample
	}
	declared := map[string]paramKeys{}
	quiet := newDecoder(d.file, KindPreset, p.firstLine)
	quiet.value(n, reflect.ValueOf(&declared).Elem(), place{"parameters", "parameters"})
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		k := declared[name]
		at := place{"parameters", "parameters"}.entry(name)
		bad := func(at place, msg, hint string) {
			d.errs = append(d.errs, &Error{Pos: (&file{path: d.file, at: quiet.at}).posOf(at.path), Field: at.path, Msg: msg, Hint: hint})
		}
		if !paramName.MatchString(name) {
			bad(at, "a parameter's name may only hold lower-case letters, digits and '_'", "")
			continue
		}
		q := preset.Param{Name: name, Text: k.Text, List: true, Default: k.Default, Check: k.check}
		sample[name] = "x"
		for i, v := range k.Values {
			q.Values = append(q.Values, string(v))
			sample[name] = string(k.Values[0])
			if err := k.check(string(v)); err != nil {
				bad(at.key("values").item(i), err.Error(), "")
			}
		}
		if k.Default != "" {
			sample[name] = k.Default
			if err := k.check(k.Default); err != nil {
				bad(at.key("default"), err.Error(), "")
			}
			if q.Values != nil && !slices.Contains(q.Values, k.Default) {
				bad(at.key("default"), "unknown value "+shown(k.Default), choices(k.Default, q.Values, "accepted"))
			}
		}
		p.params = append(p.params, q)
	}
	return sample
}

var paramName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// check says what keeps s from being a value of the parameter.
func (k paramKeys) check(s string) error {
	if err := preset.Value(s); err != nil {
		return err
	}
	if k.Pattern == "" {
		return nil
	}
	re, err := regexp.Compile(`\A(?:` + string(k.Pattern) + `)\z`)
	if err != nil {
		return errors.New("its pattern is no regular expression") // told at the pattern
	}
	if !re.MatchString(s) {
		return fmt.Errorf("%s does not fit the pattern %s", shown(s), clip(string(k.Pattern)))
	}
	return nil
}

// fill returns a copy of a tree with the values in its holes, and notes which it used. A hole in a
// regular expression takes its value as text, not as an expression.
func (d *decoder) fill(n *yaml.Node, values map[string]string, used map[string]bool, at place) *yaml.Node {
	if n == nil {
		return nil
	}
	out := *n
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "{{") {
		out.Value = hole.ReplaceAllStringFunc(n.Value, func(s string) string {
			name := hole.FindStringSubmatch(s)[1]
			v, ok := values[name]
			if !ok {
				d.fail(n, at, "names the parameter "+strconv.Quote(clip(name))+", which is not declared", choices(name, slices.Sorted(maps.Keys(values)), "declared"))
				return "x"
			}
			used[name] = true
			return v
		})
	}
	quoted := n.Kind == yaml.MappingNode && isText(valueOf(n, "type"), "regex")
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		with := values
		if quoted && c == valueOf(n, "value") {
			with = make(map[string]string, len(values))
			for k, v := range values {
				with[k] = regexp.QuoteMeta(v)
			}
		}
		out.Content[i] = d.fill(c, with, used, at)
	}
	return &out
}

// isText is isWord for a key that may not be there.
func isText(n *yaml.Node, word string) bool { return n != nil && isWord(n, word) }

// expand returns the rules for these values, without IDs: each rule once for every combination of
// the values it names.
func (f *file) expand(args preset.Args) ([]Route, []*Error) {
	var out []Route
	for i, n := range f.preset.rules {
		used := map[string]bool{}
		probe := newDecoder(f.path, KindPreset, f.preset.firstLine)
		every := map[string]string{}
		for _, q := range f.preset.params {
			every[q.Name] = ""
		}
		probe.fill(n, every, used, place{})
		for _, values := range f.preset.combinations(args, used) {
			if len(out) >= maxRules {
				return nil, []*Error{{Pos: Pos{File: f.path}, Msg: fmt.Sprintf("these values make more than %d rules", maxRules), Hint: "name fewer"}}
			}
			at := place{"routes", "routes"}.item(i)
			d := newDecoder(f.path, KindPreset, f.preset.firstLine)
			var k routeKeys
			filled := d.fill(n, values, used, at)
			d.note(filled, filled, at)
			d.value(filled, reflect.ValueOf(&k).Elem(), at)
			one := &file{kind: KindPreset, path: f.path, at: d.at, errs: d.errs}
			r := one.route(k, at)
			if len(one.errs) > 0 {
				return nil, one.errs
			}
			r.Capability = f.preset.capability(values, used)
			out = append(out, r)
		}
	}
	return out, nil
}

// combinations lists every choice of one value for each used parameter, at most one more than
// maxRules.
func (p *presetFile) combinations(args preset.Args, used map[string]bool) []map[string]string {
	out := []map[string]string{{}}
	for _, q := range p.params {
		if !used[q.Name] {
			continue
		}
		values := args[q.Name]
		if len(values) == 0 {
			values = []string{q.Default}
		}
		var next []map[string]string
		for _, have := range out {
			for _, v := range values {
				if len(next) > maxRules {
					break
				}
				with := maps.Clone(have)
				with[q.Name] = v
				next = append(next, with)
			}
		}
		out = next
	}
	return out
}

// capability is a rule in an operator's words: "mycompany: docs".
func (p *presetFile) capability(values map[string]string, used map[string]bool) string {
	var words []string
	for _, q := range p.params {
		if used[q.Name] {
			words = append(words, values[q.Name])
		}
	}
	if len(words) == 0 {
		return p.name
	}
	return p.name + ": " + preset.Listed(words)
}
