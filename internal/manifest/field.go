package manifest

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field is one key a struct accepts.
type field struct {
	name     string
	index    int
	required bool // its tag has no "omitempty", the same sign the JSON Schema goes by
}

type fields []field

// fieldCache holds the fields of each type once listed: there are few types and many files.
var fieldCache sync.Map // reflect.Type to fields

// fieldsOf lists the keys of a struct type in their written order. The caller must not change them.
func fieldsOf(t reflect.Type) fields {
	if f, ok := fieldCache.Load(t); ok {
		return f.(fields) //nolint:forcetypeassert // nothing else is stored below
	}
	var out fields
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		out = append(out, field{name, f.Index[0], opts != "omitempty"})
	}
	fieldCache.Store(t, out)
	return out
}

func (f fields) find(name string) (field, bool) {
	if i := slices.IndexFunc(f, func(x field) bool { return x.name == name }); i >= 0 {
		return f[i], true
	}
	return field{}, false
}

// names lists the keys, sorted, for people.
func (f fields) names() []string {
	out := make([]string, len(f))
	for i, x := range f {
		out[i] = x.name
	}
	slices.Sort(out)
	return out
}
