package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Schema returns the JSON Schema (draft 2020-12) of a file's frontmatter, for editors. It is made
// from the types that decode it and the table of keys.
func Schema(kind Kind) ([]byte, error) {
	s, err := schemaOf(kind)
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema of a manifest's %s: %w", kind, err)
	}
	return append(b, '\n'), nil
}

func schemaOf(kind Kind) (*jsonschema.Schema, error) {
	if known := []string{string(KindAgent), string(KindBottle), string(KindPreset)}; !slices.Contains(known, string(kind)) {
		return nil, fmt.Errorf("no schema for %q: %s", string(kind), choices(string(kind), known, "there is"))
	}
	values := valueSchemas()
	if kind == KindPreset {
		// Any text of a rule may have a parameter in it.
		for _, v := range values {
			v.Pattern = ""
		}
	}
	s, err := jsonschema.ForType(reflect.TypeOf(newKeys(kind)).Elem(), &jsonschema.ForOptions{TypeSchemas: values})
	if err != nil {
		return nil, fmt.Errorf("schema of a manifest's %s: %w", kind, err)
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "claude-bottle " + string(kind)
	describeSchema(kind, s, "")
	return s, nil
}

// valueSchemas gives the schemas of the types that read themselves.
func valueSchemas() map[reflect.Type]*jsonschema.Schema {
	pattern := func(p string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: p} }
	orNone := func(s *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "string", Enum: []any{none}}}}
	}
	variable := `^[A-Za-z_][A-Za-z0-9_]*$`
	size := pattern(`^([0-9]+(\.[0-9]+)? *(KiB|MiB|GiB|TiB)|none)$`)
	return map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[bottle.Name](): pattern(`^[a-z][a-z0-9-]{0,39}$`),
		reflect.TypeFor[hostName]():    pattern(`^(\*\.)?[A-Za-z0-9:.-]+$`),
		reflect.TypeFor[hostPort]():    pattern(`^(\[[0-9A-Fa-f:]+\]|(\*\.)?[A-Za-z0-9.-]+):[0-9]+$`),
		reflect.TypeFor[presetUse]():   useSchema(),
		reflect.TypeFor[varName]():     pattern(variable),
		reflect.TypeFor[port]():        {Type: "integer", Minimum: new(1.0), Maximum: new(65535.0)},
		reflect.TypeFor[network]():     pattern(`^[0-9A-Fa-f:.]+/[0-9]+$`),
		reflect.TypeFor[upstreamURL](): pattern(`^https?://[^/?#@]+/?$`),
		reflect.TypeFor[hostPath]():    pattern(`^(/|~/).*$`),
		reflect.TypeFor[imageRef]():    pattern(`^[A-Za-z0-9][A-Za-z0-9._/:@-]*$`),
		reflect.TypeFor[runtimeName](): pattern(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`),
		reflect.TypeFor[repoURL]():     pattern(`^(ssh|https)://.+`),
		reflect.TypeFor[identity]():    pattern(`^[^<>]+$`),
		reflect.TypeFor[Size]():        size,
		reflect.TypeFor[Count]():       orNone(&jsonschema.Schema{Type: "integer", Minimum: new(16.0)}),
		reflect.TypeFor[Cores]():       orNone(&jsonschema.Schema{Type: "number", Minimum: new(0.05)}),
		reflect.TypeFor[envKeys](): {Type: "object", PropertyNames: pattern(variable),
			AdditionalProperties: &jsonschema.Schema{Types: []string{"string", "number", "boolean"}}},
	}
}

// describeSchema writes the table's words and constraints into s and all below it.
func describeSchema(kind Kind, s *jsonschema.Schema, shape string) {
	k := lookup(kind, shape)
	s.Description = k.Text
	if k.Unbuilt {
		s.Description += " " + unbuiltWords
	}
	if k.Default != "" {
		s.Description += " Default: " + k.Default + "."
	}
	one := s
	if s.Items != nil {
		one = s.Items
	}
	for _, v := range k.Values {
		one.Enum = append(one.Enum, v)
	}
	if s.Types = withoutNull(s.Types); len(s.Types) == 1 {
		s.Type, s.Types = s.Types[0], nil
	}
	for name, p := range s.Properties {
		describeSchema(kind, p, strings.TrimPrefix(shape+"."+name, "."))
	}
	if s.Items != nil {
		describeSchema(kind, s.Items, shape+"[]")
		if k.Empty != "" {
			s.MinItems = new(1)
		}
	}
	if s.Type == "object" && s.Properties == nil && s.AdditionalProperties != nil {
		describeSchema(kind, s.AdditionalProperties, shape+".*")
	}
}

// unbuiltWords is what is said of a key that can't be enforced yet.
const unbuiltWords = "Understood and checked, but this version can't enforce it and refuses to launch instead of ignoring it."

// withoutNull removes "null", which the generator allows for what is a pointer or a slice in Go:
// a key without a value is refused.
func withoutNull(types []string) []string {
	var out []string
	for _, t := range types {
		if t != "null" {
			out = append(out, t)
		}
	}
	return out
}
