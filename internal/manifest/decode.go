package manifest

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decoder fills a struct from a YAML tree. It is ours, above the library's parser, because every
// mistake is to be told in one run, with its place, its key's path and the way out; and because
// what a library may take for granted (a quoted number, an empty list, an alias) is where a policy
// gets wider than its author meant.
type decoder struct {
	file string
	kind Kind
	// shift is added to the tree's lines: the frontmatter does not start at line 1.
	shift int
	errs  []*Error
	// presets are the operator's own, by name.
	presets map[string]*file
	// at tells where each key stands: scalars by their value, mappings and lists by their key.
	at map[string]Pos
}

// place is where the decoder is: the path shown to people, and its shape for looking up keys
// ("egress.routes[2].host" has the shape "egress.routes[].host").
type place struct{ path, shape string }

func (p place) key(k string) place {
	if p.path == "" {
		return place{k, k}
	}
	return place{p.path + "." + k, p.shape + "." + k}
}

// entry is the place of a name the author chose, in a mapping of such names.
func (p place) entry(k string) place { return place{p.path + "." + k, p.shape + ".*"} }

func (p place) item(i int) place {
	return place{p.path + "[" + strconv.Itoa(i) + "]", p.shape + "[]"}
}

// node is a type that reads its own YAML, for what a Go kind can't express. The type's schema is
// in schemaOf.
type node interface {
	decodeNode(d *decoder, n *yaml.Node, at place)
}

func newDecoder(file string, kind Kind, firstLine int) *decoder {
	return &decoder{file: file, kind: kind, shift: firstLine - 1, at: make(map[string]Pos)}
}

// decode parses doc into keys, a pointer to a struct.
func (d *decoder) decode(doc document, keys any) {
	if root := d.load(doc); root != nil {
		d.value(root, reflect.ValueOf(keys).Elem(), place{})
	}
}

// load parses doc; nil for one that can't be or that holds nothing, where every key is optional at
// the top.
func (d *decoder) load(doc document) *yaml.Node {
	if doc.empty() {
		return nil
	}
	var root yaml.Node
	// The option WithSingleDocument is not given: in v4.0.0 it reads the first document and passes
	// over the others in silence, where Load without it refuses them.
	err := yaml.Load(doc.yaml, &root)
	if err == nil && (root.Kind != yaml.DocumentNode || len(root.Content) != 1) {
		err = errors.New("not one document")
	}
	if err != nil {
		d.errs = append(d.errs, d.syntax(doc, err)...)
		return nil
	}
	return root.Content[0]
}

// syntax translates what the YAML parser refused.
func (d *decoder) syntax(doc document, err error) []*Error {
	e := &Error{Pos: Pos{d.file, doc.firstLine, 1}, Msg: "not valid YAML: " + err.Error()}
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		e.Msg = "not valid YAML: " + strings.TrimPrefix(strings.TrimSpace(le.Message), "yaml: ")
		if le.Mark.Line > 0 {
			e.Hint = trap(doc.line(le.Mark.Line))
			e.Pos = Pos{d.file, le.Mark.Line + d.shift, max(1, le.Mark.Column)}
		}
	}
	return []*Error{e}
}

// trap recognises the two mistakes whose message from a YAML parser helps nobody.
func trap(line []byte) string {
	switch {
	case bytes.HasPrefix(line, []byte("\t")):
		return "indent with spaces: YAML accepts no tabs there"
	case bytes.Contains(line, []byte("${")) && bytes.ContainsAny(bytes.ReplaceAll(line, []byte("${"), nil), "[{"):
		return `inside [ ] and { } quote it: "${NAME}"`
	}
	return ""
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{d.file, n.Line + d.shift, n.Column} }

func (d *decoder) fail(n *yaml.Node, at place, msg, hint string) {
	d.errs = append(d.errs, &Error{Pos: d.pos(n), Field: at.path, Msg: msg, Hint: hint})
}

// wrong reports a value of the wrong type and shows how the key is written.
func (d *decoder) wrong(n *yaml.Node, at place, want string) {
	hint := ""
	if k := lookup(d.kind, at.shape); k.Example != "" {
		hint = "for example: " + k.Example
	}
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 && bare(n.Value) {
		hint = "write it without quotes"
	}
	d.fail(n, at, "must be "+want+", not "+describe(n), hint)
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, at place) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.fail(n, at, "anchors and aliases are not accepted", "write the value out")
		return
	case isNull(n):
		d.fail(n, at, "has no value", "give it one or leave the key out")
		return
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), at)
		return
	}
	switch into := v.Addr().Interface().(type) {
	case node:
		into.decodeNode(d, n, at)
		return
	case encoding.TextUnmarshaler:
		if s, ok := d.text(n, at); ok {
			if err := into.UnmarshalText([]byte(s)); err != nil {
				d.fail(n, at, err.Error(), "")
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, at)
	case reflect.Slice:
		d.list(n, v, at)
	case reflect.Map:
		d.entries(n, v, at)
	case reflect.String:
		if s, ok := d.text(n, at); ok {
			v.SetString(s)
		}
	case reflect.Bool:
		// The word is looked at too: a directive or a tag can make a boolean of "yes".
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Value != "true" && n.Value != "false" {
			d.wrong(n, at, "true or false")
			return
		}
		v.SetBool(n.Value == "true")
	case reflect.Interface: // a key of another program: accepted, whatever it holds
		v.Set(reflect.ValueOf(n.Value))
	default:
		panic("manifest: no decoding for " + v.Type().String())
	}
}

// text returns a scalar that is text; anything else is an error.
func (d *decoder) text(n *yaml.Node, at place) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		want := "text"
		if n.Kind == yaml.ScalarNode {
			want = "text (put it in quotes)"
		}
		d.wrong(n, at, want)
		return "", false
	}
	if strings.TrimSpace(n.Value) == "" {
		d.fail(n, at, "is empty", "give it a value or leave the key out")
		return "", false
	}
	return n.Value, true
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, at, "a mapping of keys")
		return
	}
	fields := fieldsOf(v.Type())
	seen := d.pairs(n, at, func(k, val *yaml.Node) {
		p := at.key(k.Value)
		f, ok := fields.find(k.Value)
		if !ok {
			d.unknown(k, at, fields)
			return
		}
		d.note(k, val, p)
		d.value(val, v.Field(f.index), p)
	})
	for _, f := range fields {
		if _, ok := seen[f.name]; f.required && !ok {
			d.errs = append(d.errs, &Error{Pos: d.pos(n), Field: at.path, Msg: "needs the key " + strconv.Quote(f.name),
				Hint: lookup(d.kind, at.key(f.name).shape).hint()})
		}
	}
}

// pairs calls each for every key of a mapping that is text and stands there once, and returns the
// keys seen with their lines.
func (d *decoder) pairs(n *yaml.Node, at place, each func(k, v *yaml.Node)) map[string]int {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" || k.Anchor != "" {
			d.fail(k, at, "only plain keys are accepted", "write the keys out, without anchors, aliases or <<")
			continue
		}
		if line, twice := seen[k.Value]; twice {
			d.fail(k, at.key(k.Value), "is there twice", fmt.Sprintf("the first is at line %d", line))
			continue
		}
		seen[k.Value] = k.Line + d.shift
		each(k, v)
	}
	return seen
}

// note remembers where a key or list item stands.
func (d *decoder) note(k, v *yaml.Node, at place) {
	if v.Kind == yaml.ScalarNode {
		k = v
	}
	d.at[at.path] = d.pos(k)
}

func (d *decoder) unknown(k *yaml.Node, at place, fields fields) {
	p := at.key(k.Value)
	if why := removed(d.kind, p.shape); why != "" {
		d.fail(k, p, "is not a key of "+article(d.kind), why)
		return
	}
	d.fail(k, at, "unknown key "+strconv.Quote(clip(k.Value)), choices(k.Value, fields.names(), "accepted"))
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, at, "a list")
		return
	}
	if why := lookup(d.kind, at.shape).Empty; len(n.Content) == 0 && why != "" {
		d.fail(n, at, "is an empty list", why)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		p := at.item(i)
		d.note(c, c, p)
		d.value(c, v.Index(i), p)
	}
}

// entries decodes a mapping whose keys the author chose.
func (d *decoder) entries(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, at, "a mapping of keys")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, at, func(k, val *yaml.Node) {
		p := at.entry(k.Value)
		d.note(k, val, p)
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(val, e, p)
		v.SetMapIndex(reflect.ValueOf(k.Value), e)
	})
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe says what a node holds. Text is not quoted: it may be a credential in the wrong place.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return clip(n.Value)
	}
	return "text"
}

// bare reports whether a quoted text would be a number or boolean without its quotes.
func bare(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil || s == "true" || s == "false"
}

// shown quotes a short word of a file for an error. Longer text is left out: no error may show a
// credential that was written in the wrong place, and credentials are long.
func shown(s string) string {
	const most = 16
	if len(s) > most {
		return "(of " + strconv.Itoa(len(s)) + " bytes)"
	}
	return strconv.Quote(s)
}

func article(k Kind) string {
	if k == KindAgent {
		return "an agent"
	}
	return "a " + string(k)
}

// clip bounds a number or name that goes into an error.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
