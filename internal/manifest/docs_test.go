package manifest

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// manual is the page whose tables are generated.
const manual = "../../docs/MANIFEST.md"

// table renders the keys of kind for the manual.
func table(kind Kind) string {
	required := requiredKeys(reflect.TypeOf(newKeys(kind)).Elem(), "")
	var b strings.Builder
	b.WriteString("| key | meaning | default | example |\n|---|---|---|---|\n")
	for _, k := range Keys(kind) {
		if kind == KindPreset && strings.HasPrefix(k.Path, "routes[].") {
			continue // as in a bottle
		}
		text := k.Text
		if k.Values != nil {
			text += " One of `" + strings.Join(k.Values, "`, `") + "`."
		}
		if slices.Contains(required, k.Path) {
			text = "*required* " + text
		}
		if k.Unbuilt {
			text = "*not yet* " + text
		}
		example := ""
		if k.Example != "" {
			example = "`" + k.Example + "`"
		}
		cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Path, cell(text), cell(k.Default), cell(example))
	}
	return b.String()
}

// requiredKeys lists the keys a mapping can't be without.
func requiredKeys(typ reflect.Type, at string) (out []string) {
	switch typ.Kind() {
	case reflect.Pointer:
		return requiredKeys(typ.Elem(), at)
	case reflect.Slice:
		return requiredKeys(typ.Elem(), at+"[]")
	case reflect.Map:
		return requiredKeys(typ.Elem(), at+".*")
	case reflect.Struct:
		for _, f := range fieldsOf(typ) {
			p := strings.TrimPrefix(at+"."+f.name, ".")
			if f.required {
				out = append(out, p)
			}
			out = append(out, requiredKeys(typ.Field(f.index).Type, p)...)
		}
	}
	return out
}

func TestManualIsUpToDate(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	page := string(old)
	for _, kind := range []Kind{KindBottle, KindAgent, KindPreset} {
		const end = "<!-- end -->"
		start := fmt.Sprintf("<!-- generated: %s -->\n", kind)
		before, rest, ok := strings.Cut(page, start)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no place for the table of %s", manual, kind)
		}
		page = before + start + table(kind) + end + after
	}
	switch {
	case page == string(old):
	case flag.Lookup("update").Value.String() == "true":
		if err := os.WriteFile(manual, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is stale: run go test ./internal/manifest -update", manual)
	}
}
