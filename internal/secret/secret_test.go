package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Invariant 1: there is no way of printing that shows a credential.
func TestNothingPrintsAValue(t *testing.T) {
	t.Parallel()
	const raw = "sk-very-secret"
	v := New(raw)
	holder := struct {
		Name  string
		Token Value
		List  []Value
		Map   map[string]Value
		Ptr   *Value
	}{"n", v, []Value{v}, map[string]Value{"k": v}, &v}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", v, holder)
	}
	fmt.Fprintln(&out, v, holder, fmt.Errorf("bad token %v", v))
	b, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", v, "holder", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", v, "holder", holder)

	for _, form := range []string{raw, fmt.Sprintf("%x", raw), fmt.Sprintf("%X", raw), fmt.Sprintf("%d", []byte(raw))} {
		if strings.Contains(out.String(), form) {
			t.Errorf("printed the secret as %q in:\n%s", form, out.String())
		}
	}
	if v.Reveal() != raw {
		t.Errorf("Reveal() = %q", v.Reveal())
	}
}
