package manifest

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/preset"
)

// presetUse is one line of egress.allow: a preset's name alone, with one word, or with parameters.
// Its preset is built in, or a file of the operator's.
type presetUse struct {
	built preset.Preset
	own   *file
	args  preset.Args
	// auth is the credential the line names, nil for none.
	auth    *policy.Auth
	tokenAt Pos
}

// useAuthKeys are authKeys without what the preset knows.
type useAuthKeys struct {
	TokenRef varName `json:"token_ref"`
	Scheme   string  `json:"scheme,omitempty"`
}

const useExample = `write a name (npm), or one name and its parameters (github: {repos: [acme/app], access: read})`

func (u *presetUse) decodeNode(d *decoder, n *yaml.Node, at place) {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		if u.find(d, n, at) {
			u.finish(d, n, at, nil)
		}
	case n.Kind == yaml.MappingNode && len(n.Content) == 2:
		d.pairs(n, at, func(k, v *yaml.Node) {
			if u.find(d, k, at) {
				u.values(d, k, v, at)
			}
		})
	default:
		d.fail(n, at, "is not one preset", useExample)
	}
}

// find looks the preset up. The operator's own come first, so that a file which wrongly takes a
// built-in name is told instead of being passed over.
func (u *presetUse) find(d *decoder, n *yaml.Node, at place) bool {
	var known bool
	if u.own = d.presets[n.Value]; u.own != nil {
		if len(u.own.errs) > 0 {
			d.fail(n, at, "the preset "+strconv.Quote(clip(n.Value))+" has mistakes", "mend "+u.own.errs[0].Error())
			return false
		}
		return true
	}
	if u.built, known = preset.Find(n.Value); known {
		return true
	}
	names := slices.Sorted(maps.Keys(d.presets))
	for _, p := range preset.All() {
		names = append(names, p.Name)
	}
	d.fail(n, at, "there is no preset "+strconv.Quote(clip(n.Value)), choices(n.Value, names, "there is"))
	return false
}

func (u *presetUse) params() []preset.Param {
	if u.own != nil {
		return u.own.preset.params
	}
	return u.built.Params
}

// word is the parameter that a lone word sets: the preset's, or the only one there is.
func (u *presetUse) word() string {
	if u.own != nil && len(u.own.preset.params) == 1 {
		return u.own.preset.params[0].Name
	}
	return u.built.Word
}

func (u *presetUse) values(d *decoder, k, v *yaml.Node, at place) {
	p := at.key(k.Value)
	given, ok := map[string]*yaml.Node{}, true
	switch {
	case isNull(v):
		d.fail(v, p, "has no value", "write the name alone: - "+clip(k.Value))
		return
	case v.Kind == yaml.MappingNode:
		d.pairs(v, p, func(k, v *yaml.Node) {
			if k.Value == "auth" && u.built.Scheme != "" {
				u.credential(d, v, p.key("auth"))
				return
			}
			if !slices.ContainsFunc(u.params(), func(q preset.Param) bool { return q.Name == k.Value }) {
				d.fail(k, p, "unknown parameter "+strconv.Quote(clip(k.Value)), choices(k.Value, u.names(), "it takes"))
				ok = false
				return
			}
			given[k.Value] = v
		})
	case u.word() != "":
		given[u.word()] = v
	default:
		d.fail(v, p, "takes no single word", choices("", u.names(), "it takes"))
		return
	}
	if ok {
		u.finish(d, k, p, given)
	}
}

// names are the parameters there are.
func (u *presetUse) names() []string {
	var names []string
	for _, q := range u.params() {
		names = append(names, q.Name)
	}
	if u.built.Scheme != "" {
		names = append(names, "auth")
	}
	return names
}

// finish checks the values given, by parameter, and that none is missing.
func (u *presetUse) finish(d *decoder, n *yaml.Node, at place, given map[string]*yaml.Node) {
	u.args = preset.Args{}
	for _, q := range u.params() {
		v, ok := given[q.Name]
		if !ok {
			if q.Default == "" && !q.Optional {
				d.fail(n, at, "needs the parameter "+strconv.Quote(q.Name), u.example())
			}
			continue
		}
		u.args[q.Name] = u.list(d, v, q, at.key(q.Name))
	}
}

func (u *presetUse) example() string {
	if u.own != nil {
		return u.own.path + " says what it is for"
	}
	return "for example: " + u.built.Example
}

// list reads the value or values of one parameter.
func (u *presetUse) list(d *decoder, n *yaml.Node, q preset.Param, at place) []string {
	if n.Kind != yaml.SequenceNode {
		return u.one(d, n, q, at, nil)
	}
	if !q.List || len(n.Content) == 0 {
		want := "a list of at least one"
		if !q.List {
			want = "one value"
		}
		d.fail(n, at, "must be "+want, u.example())
		return nil
	}
	var out []string
	for i, c := range n.Content {
		out = u.one(d, c, q, at.item(i), out)
	}
	return out
}

func (u *presetUse) one(d *decoder, n *yaml.Node, q preset.Param, at place, before []string) []string {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(n, at, "anchors and aliases are not accepted", "write the value out")
		return before
	}
	s := n.Value
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" { // a number counts as it is written
		var ok bool
		if s, ok = d.text(n, at); !ok {
			return before
		}
	}
	check := q.Check
	if check == nil {
		check = preset.Value
	}
	switch {
	case q.Values != nil && !slices.Contains(q.Values, s):
		d.fail(n, at, "unknown value "+shown(s), choices(s, q.Values, "accepted"))
	case q.Values == nil && check(s) != nil:
		d.fail(n, at, check(s).Error(), "")
	case slices.Contains(before, s):
		d.fail(n, at, strconv.Quote(s)+" is there twice", "")
	default:
		return append(before, s)
	}
	return before
}

// credential reads auth. Its words are those of a rule's auth.
func (u *presetUse) credential(d *decoder, n *yaml.Node, at place) {
	const shape = "egress.routes[].auth"
	var k useAuthKeys
	before := len(d.errs)
	d.value(n, reflect.ValueOf(&k).Elem(), place{at.path, shape})
	if k.Scheme != "" {
		if known := lookup(KindBottle, shape+".scheme").Values; !slices.Contains(known, k.Scheme) {
			d.fail(n, at.key("scheme"), "unknown value "+shown(k.Scheme), choices(k.Scheme, known, "accepted"))
		}
	}
	if len(d.errs) > before {
		return
	}
	var err error
	if u.auth, err = policy.NewAuth(cmp.Or(k.Scheme, u.built.Scheme), string(k.TokenRef)); err != nil {
		d.fail(n, at.key("token_ref"), err.Error(), "token_ref: AWS_SECRET_ACCESS_KEY")
	}
	u.tokenAt = d.at[at.key("token_ref").path]
}

// useSchema is the JSON Schema of one line. The operator's own presets are known to the decoder alone.
func useSchema() *jsonschema.Schema {
	text := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }
	props := map[string]*jsonschema.Schema{}
	for _, p := range preset.All() {
		with := &jsonschema.Schema{Type: "object", Description: p.Text, Properties: map[string]*jsonschema.Schema{},
			AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}}
		for _, q := range p.Params {
			one := text()
			for _, v := range q.Values {
				one.Enum = append(one.Enum, v)
			}
			s := one
			if q.List {
				s = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{one, {Type: "array", Items: text(), MinItems: new(1)}}}
			}
			s.Description = q.Text
			with.Properties[q.Name] = s
			if q.Default == "" && !q.Optional {
				with.Required = append(with.Required, q.Name)
			}
		}
		if p.Scheme != "" {
			with.Properties["auth"] = &jsonschema.Schema{Type: "object", Required: []string{"token_ref"},
				Properties: map[string]*jsonschema.Schema{"token_ref": text(), "scheme": text()}}
		}
		props[p.Name] = with
		if p.Word != "" {
			props[p.Name] = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(), with}}
		}
	}
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		text(), {Type: "object", Properties: props, MinProperties: new(1), MaxProperties: new(1)},
	}}
}
