package preset_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/preset"
)

var update = flag.Bool("update", false, "write the manual's table anew")

// manual is the page whose table is generated.
const manual = "../../docs/POLICY.md"

// table renders the presets for the manual.
func table() string {
	var b strings.Builder
	b.WriteString("| preset | what is open | parameters | credential | hosts |\n|---|---|---|---|---|\n")
	for _, p := range preset.All() {
		var params, hosts []string
		args := preset.Args{"repos": {"acme/app"}, "access": {"write"}}
		for _, q := range p.Params {
			s := "`" + q.Name + "`: " + q.Text
			if q.Values != nil {
				s += " `" + strings.Join(q.Values, "`, `") + "`."
			}
			switch {
			case q.Default != "":
				s += " Default: " + q.Default + "."
			case !q.Optional:
				s += " *required*"
			}
			params = append(params, s)
		}
		for _, r := range p.Routes(args, nil) {
			if h := "`" + r.Host.String() + "`"; !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
		credential := ""
		switch {
		case p.Token != "":
			credential = "always; `" + p.Token + "` unless auth names another (" + p.Scheme + ")"
		case p.Scheme != "":
			credential = "with auth (" + p.Scheme + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", p.Example, p.Text, strings.Join(params, "<br>"), credential, strings.Join(hosts, "<br>"))
	}
	return b.String()
}

func TestManualIsUpToDate(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	const start, end = "<!-- generated: presets -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(string(old), start)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table of presets", manual)
	}
	switch page := before + start + table() + end + after; {
	case page == string(old):
	case *update:
		if err := os.WriteFile(manual, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is stale: run go test ./internal/preset -update", manual)
	}
}

// Every rule of every preset can be told apart from an over-broad one.
func TestNoPresetIsBroad(t *testing.T) {
	t.Parallel()
	for _, p := range preset.All() {
		for _, r := range p.Routes(preset.Args{"repos": {"acme/app"}, "ids": {"42"}, "access": {"write"}}, nil) {
			if why := policy.OverBroad(r); why != "" {
				t.Errorf("%s: %s", p.Name, why)
			}
		}
	}
}
