package manifest

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

func mustName(t testing.TB) bottle.Name {
	t.Helper()
	n, err := bottle.ParseName("x")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// FuzzManifest parses anything as an agent and as a bottle: no panic, every error one bounded line
// of inert text with a place inside the file, and what is accepted has only rules with a host.
func FuzzManifest(f *testing.F) {
	archives, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range archives {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(file.Data)
		}
	}
	for _, b := range Starter() {
		f.Add(b)
	}
	f.Add([]byte("---\n? [a]\n: b\n---\n"))
	f.Add([]byte("---\negress: &x {routes: [*x]}\n---\n"))
	own := parse(mustName(f), KindPreset, "own.md", []byte("---\nparameters: {a: {}, b: {default: c}}\nroutes: [{host: \"{{a}}.example.org\"}, {host: \"{{b}}.example.org\"}]\n---\n"), nil)
	f.Add([]byte("---\negress: {allow: [npm, {own: {a: [x, y]}}, {github: {repos: [a/b]}}], tcp: [\"a:1\"]}\n---\n"))
	f.Add([]byte("---\nparameters: {p: {values: [x]}}\nroutes: [{host: a, matches: [{paths: [{type: regex, value: \"/{{p}}\"}]}]}]\n---\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > maxFile {
			return
		}
		lines := strings.Count(string(src), "\n") + 1
		for _, kind := range []Kind{KindAgent, KindBottle, KindPreset} {
			parsed := parse(mustName(t), kind, "x.md", src, map[string]*file{"own": own})
			for _, e := range parsed.errs {
				s := e.Error()
				if e.Line < 1 || e.Line > lines+1 || e.Col < 1 {
					t.Errorf("place outside the file of %d lines: %s", lines, s)
				}
				if len(s) > maxMessage || !utf8.ValidString(s) || strings.ContainsAny(s, "\n\r\x1b\x00") {
					t.Errorf("not inert: %q", s)
				}
			}
			if len(parsed.errs) > 0 || parsed.layer.routes == nil {
				continue
			}
			for _, r := range *parsed.layer.routes {
				if r.Host.IsZero() {
					t.Errorf("a rule without a host was accepted:\n%s", src)
				}
			}
		}
	})
}

func TestOddLineEndsAreRefusedWhereTheyStand(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int{
		"a: b\r\nc: d\n":    {0, 0},
		"a: b\nc\r: d\n":    {2, 2},
		"a: \u2028b\n":      {1, 4},
		"a: b\nc: \"\u0085": {2, 5},
		"a: b\r":            {1, 5},
	} {
		line, col, name := oddBreak([]byte(text))
		if [2]int{line, col} != want || (name == "") != (want[0] == 0) {
			t.Errorf("%q: %d:%d %q, want %v", text, line, col, name, want)
		}
	}
}
