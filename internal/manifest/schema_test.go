package manifest

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"
)

func resolved(t *testing.T, kind Kind) *jsonschema.Resolved {
	t.Helper()
	s, err := schemaOf(kind)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shapes lists every key below a type, in the shape the table uses.
func shapes(typ reflect.Type, at string) (out []string) {
	if reflect.PointerTo(typ).Implements(reflect.TypeFor[node]()) {
		if typ == reflect.TypeFor[envKeys]() {
			out = append(out, at+".*")
		}
		return out
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return shapes(typ.Elem(), at)
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.Struct && len(fieldsOf(typ.Elem())) > 0 {
			return append(out, append([]string{at + "[]"}, shapes(typ.Elem(), at+"[]")...)...)
		}
	case reflect.Map:
		return append(out, append([]string{at + ".*"}, shapes(typ.Elem(), at+".*")...)...)
	case reflect.Struct:
		for _, f := range fieldsOf(typ) {
			p := strings.TrimPrefix(at+"."+f.name, ".")
			out = append(append(out, p), shapes(typ.Field(f.index).Type, p)...)
		}
	}
	return out
}

// TestEveryKeyIsDescribedOnce holds the types and the table of words together.
func TestEveryKeyIsDescribedOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{KindAgent, KindBottle, KindPreset} {
		want := shapes(reflect.TypeOf(newKeys(kind)).Elem(), "")
		var got []string
		for _, k := range Keys(kind) {
			got = append(got, k.Path)
			if k.Text == "" {
				t.Errorf("%s: no text for %s", kind, k.Path)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the table has\n%s\nthe types have\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestExamplesAreAccepted decodes the example of every key that can stand alone.
func TestExamplesAreAccepted(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{KindAgent, KindBottle} {
		for _, k := range Keys(kind) {
			if k.Example == "" || strings.ContainsAny(k.Path, "*[") {
				continue
			}
			src := ""
			keys := strings.Split(k.Path, ".")
			for i, key := range keys[:len(keys)-1] {
				src += strings.Repeat("  ", i) + key + ":\n"
			}
			src += strings.Repeat("  ", len(keys)-1) + k.Example + "\n"
			if k.Path == "agent_provider.command" {
				src += "  template: shell\n"
			}
			f := parse(mustName(t), kind, "x.md", []byte("---\n"+src+"---\n"), nil)
			if err := joined(f.errs); err != nil {
				t.Errorf("%s:\n%v", src, err)
			}
		}
	}
}

// TestSchemaAgreesWithTheDecoder runs both over every file of the test archives and the starter.
// The schema may accept what only the decoder can see to be wrong, never the other way round.
func TestSchemaAgreesWithTheDecoder(t *testing.T) {
	t.Parallel()
	bottle, agent := resolved(t, KindBottle), resolved(t, KindAgent)
	check := func(name string, kind Kind, src []byte) (schemaOK, decoderOK bool) {
		f := parse(mustName(t), kind, name, src, nil)
		doc, bad := split(name, src)
		if bad != nil || doc.empty() {
			return len(f.errs) == 0, len(f.errs) == 0
		}
		var v any
		if err := yaml.Load(doc.yaml, &v); err != nil {
			return false, len(f.errs) == 0
		}
		r := bottle
		if kind == KindAgent {
			r = agent
		}
		return r.Validate(v) == nil, len(f.errs) == 0
	}
	for name, src := range Starter() {
		kind := KindBottle
		if strings.HasPrefix(name, "agents/") {
			kind = KindAgent
		}
		if s, d := check(name, kind, src); !s || !d {
			t.Errorf("starter %s: schema %v, decoder %v", name, s, d)
		}
	}
	for _, src := range []string{
		"limits: {memory: 4GiB, pids: none, cpus: 2}", "env: {A: 1, B: true, C: x}", "egress: {}", "supervise: false",
		"egress: {routes: [{host: '*.example.org', ports: [443], matches: [{methods: [get], paths: [{type: exact, value: /}]}]}]}",
		"git-gate: {repos: {}, user: {name: A}}",
		"egress: {allow: [npm, {anthropic: inference}, {github: {repos: [a/b], access: write, auth: {token_ref: T}}}, {github: {repos: a/b}}], tcp: ['a:1', '[::1]:2']}",
		"egress: {routes: [{host: a, passthrough: true}, {host: b, tcp: true, ports: [1]}, {host: c, dlp: {outbound_detectors: [entropy], budget: none}}]}",
		"dlp: {inbound_detectors: [echo], outbound_on_match: ask, injection: off, allow: [x], budget: 64MiB, secrets: [A], rules: ~/x.toml, canary: false}",
	} {
		if s, d := check("b.md", KindBottle, []byte("---\n"+src+"\n---\n")); !s || !d {
			t.Errorf("%s: schema %v, decoder %v", src, s, d)
		}
	}
	for _, src := range []string{
		"limits: {memory: 4}", "limits: {pids: '5'}", "egress: {routes: []}", "egress: {routes: [{}]}", "egress: {routes: [{host: a, ports: ['443']}]}",
		"egres: {}", "supervise: 'yes'", "egress: {routes: [{host: a, auth: {}}]}", "extends: Base", "env: {1A: x}", "egress:",
		"agent_provider: {template: cluade}", "egress: {allow: []}", "egress: {allow: [{npm: {}, pypi: {}}]}", "egress: {allow: [{github: {access: read}}]}",
		"egress: {allow: [{github: {repo: a/b}}]}", "egress: {tcp: [a]}", "dlp: {outbound_detectors: [entropie]}", "dlp: {canary: 1}", "dlp: {budget: 64}", "egress: {routes: [{host: 'https://a/b'}]}",
	} {
		if s, d := check("b.md", KindBottle, []byte("---\n"+src+"\n---\n")); s || d {
			t.Errorf("%s: schema %v, decoder %v", src, s, d)
		}
	}
}

func TestStarterIsWrittenOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "home")
	written, err := WriteStarter(dir)
	if err != nil || len(written) != 2 {
		t.Fatalf("%v, %v", written, err)
	}
	for _, p := range written {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", p, fi, err)
		}
		src, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		// The schema an editor is pointed at is beside the file.
		_, link, _ := strings.Cut(string(src), "$schema=")
		link, _, _ = strings.Cut(link, "\n")
		if _, err := os.Stat(filepath.Join(filepath.Dir(p), link)); err != nil {
			t.Error(err)
		}
	}
	mine := []byte("---\n---\nmine")
	if err := os.WriteFile(written[0], mine, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := WriteStarter(dir); err != nil || len(again) != 0 {
		t.Errorf("%v, %v", again, err)
	}
	if got, err := os.ReadFile(written[0]); err != nil || string(got) != string(mine) {
		t.Errorf("an existing file was touched: %q, %v", got, err)
	}
}

func TestUnknownSchema(t *testing.T) {
	t.Parallel()
	if _, err := Schema("botle"); err == nil || !strings.Contains(err.Error(), `did you mean "bottle"?`) {
		t.Error(err)
	}
}
