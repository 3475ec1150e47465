package shape

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestOrdinary is text that holds no credential, and looks like it: not one finding.
func TestOrdinary(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 5))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	lines := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
			b.WriteByte('\n')
		}
		return b.String()
	}
	sums, err := os.ReadFile("../../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	png := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), random(200_000)...)
	for name, text := range map[string]string{
		"go.sum": string(sums),
		"uuids": lines(5000, func(int) string {
			b := random(16)
			return fmt.Sprintf(`{"id":"%x-%x-%x-%x-%x","session_id":"%x"}`, b[:4], b[4:6], b[6:8], b[8:10], b[10:], b)
		}),
		"git log": lines(5000, func(i int) string {
			return fmt.Sprintf("commit %x\nAuthor: A <a@example.org>\n\n    tree %x, change %d", random(20), random(20), i)
		}),
		"package-lock": lines(3000, func(i int) string {
			sum := sha512.Sum512(random(8))
			return fmt.Sprintf(`    "node_modules/pkg-%d": {"version": "1.%d.0", "resolved": "https://registry.npmjs.org/pkg-%d/-/pkg-%d-1.%d.0.tgz", "integrity": "sha512-%s"},`,
				i, i, i, i, i, base64.StdEncoding.EncodeToString(sum[:]))
		}),
		"cargo lock": lines(3000, func(i int) string {
			return fmt.Sprintf("[[package]]\nname = \"crate-%d\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"%x\"", i, random(32))
		}),
		"minified": lines(300, func(i int) string {
			return fmt.Sprintf(`!function(e,t){"use strict";var n=t(%d),a=e.api,k=e.key;function s(e){return e&&e.__esModule?e:{default:e}}`+
				`for(var token=a?k:n,i=0;i<token.length;i++)if(e.auth!==void 0||token[i]===n.secret)return t.access=>i>%d?s(e):null;`+
				`e.exports={keyCode:13,apiVersion:"v%d",onKeyPress:function(e){e.preventDefault()},password:null}}(this,window);`, i, i, i)
		}),
		"image":      "data:image/png;base64," + base64.StdEncoding.EncodeToString(png),
		"image url":  "data:image/png;base64," + base64.URLEncoding.EncodeToString(png),
		"hex":        hex.EncodeToString(random(100_000)),
		"english":    strings.Repeat(english, 500),
		"talk":       strings.Repeat(conversation, 500),
		"bytes":      string(random(200_000)),
		"tool calls": lines(2000, func(int) string { return `{"type":"tool_use","id":"toolu_` + fill("{w24}") + `"}` }),
		"docker":     lines(2000, func(int) string { return fmt.Sprintf("sha256:%x: Pulling fs layer", random(32)) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, m := range Default().Find(nil, []byte(text)) {
				t.Errorf("%s: %q", m.Rule, text[m.Start:m.End])
			}
		})
	}
}

// TestGeneric holds the finding of a generic rule to give way on its line alone.
func TestGeneric(t *testing.T) {
	t.Parallel()
	token := fill("ghp_{w36}")
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"the same line":     {"api_key = " + token + "\n", []string{"github-pat"}},
		"another line":      {"api_key = " + token + "\nx " + token + "\n", []string{"github-pat", "github-pat"}},
		"nothing else":      {"api_key = " + fill("{w36}") + "\n", []string{"generic-api-key"}},
		"ours is no second": {"_authToken=" + fill("npm_{w36}") + "\n", []string{"npm-access-token"}},
		"a placeholder":     {"token=" + fill("ghp_{w10}bottle-placeholder-{w15}"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, m := range Default().Find(nil, []byte(c.text)) {
				got = append(got, m.Rule)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestConcurrent has many searches build the same automata.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	for _, g := range goldens(t) {
		text.WriteString(g.text + "\n")
	}
	fresh := func() *Rules {
		var all []*rule
		for i := range gitleaksSpecs {
			all = append(all, &rule{spec: &gitleaksSpecs[i]})
		}
		return newRules(all)
	}
	want := fresh().Find(nil, text.Bytes())
	if len(want) < 40 {
		t.Fatalf("%d findings", len(want))
	}
	rules := fresh()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3 {
				if got := rules.Find(nil, text.Bytes()); !reflect.DeepEqual(got, want) {
					t.Errorf("%d findings, want %d", len(got), len(want))
				}
			}
		})
	}
	wg.Wait()
}

// TestOverlap holds MaxWindow to its promise: a stream scanned in pieces that overlap by it loses nothing.
func TestOverlap(t *testing.T) {
	t.Parallel()
	token := fill("glpat-{w20}")
	for _, cut := range []int{1, 5, 12, 25} {
		text := []byte(strings.Repeat("filler ", 4000) + token + " " + strings.Repeat("filler ", 4000))
		at := bytes.Index(text, []byte(token)) + cut
		if n := len(Default().Find(nil, text[:at])); n > 0 {
			t.Errorf("cut %d: %d findings before the cut", cut, n)
		}
		if n := len(Default().Find(nil, text[at-MaxWindow:])); n != 1 {
			t.Errorf("cut %d: %d findings with the overlap, want 1", cut, n)
		}
	}
}

// TestAutomaton holds the automaton to the regexp package, rule by rule and over odd expressions.
func TestAutomaton(t *testing.T) {
	t.Parallel()
	regexes := []string{
		`a|ab`, `ab|a`, `(?:a|ab)(?:c|bcd)`, `a*?b`, `a*`, `a+?`, `\bfoo\b`, `\Bfoo`, `^a`, `a$`, `(?m)^a$`, `a\z`, `(?i)kelvin`, `[^a]b`, `.x`,
		`(?s).x`, `é+`, `[\x{100}-\x{200}]a`, `\pL\d`, `(a{2,3}){2}`, `x(?:$|y)`, `(?:^|[^a])b`,
	}
	for i := range gitleaksSpecs {
		regexes = append(regexes, gitleaksSpecs[i].regex)
	}
	type pair struct {
		fixed, floats *dfa
		first, any    *regexp.Regexp
	}
	pairs := make([]pair, len(regexes))
	for i, s := range regexes {
		pairs[i] = pair{anyOf([]string{s}), anyOf([]string{s}), regexp.MustCompile(`\A(?:` + s + `)`), regexp.MustCompile(s)}
		pairs[i].fixed.floats = false
	}
	pieces := []string{"a", "b", "ab", "bcd", "foo", " ", "\n", "KELVIN", "kelvin", "\u212a", "é", "ā", "x", "\xff", "9", "token", "=", "'", "key: ",
		fill("{w32}"), fill("{h40}"), fill("ghp_{w36}"), "curl -u ", "a:b"}
	rapid.Check(t, func(rt *rapid.T) {
		text := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(rt, "text"), ""))
		for i, p := range pairs {
			end := -1
			if at := p.first.FindIndex(text); at != nil {
				end = at[1]
			}
			if got, _ := p.fixed.match(text, 0, len(text)); got != end {
				rt.Fatalf("%q over %q ends at %d, want %d", regexes[i], text, got, end)
			}
			if got, want := p.floats.finds(text), p.any.Match(text); got != want {
				rt.Fatalf("%q over %q: %t, want %t", regexes[i], text, got, want)
			}
		}
	})
}

// TestForgets has an automaton visit more states than it keeps.
func TestForgets(t *testing.T) {
	t.Parallel()
	d := anyOf([]string{`a[ab]{14}c`})
	r := rand.New(rand.NewPCG(1, 1))
	text := make([]byte, 1<<16)
	for i := range text {
		text[i] = "ab"[r.IntN(2)]
	}
	if d.finds(text) {
		t.Error("found what is not there")
	}
	if n := d.states.Load().size; n > maxMemory+1<<12 {
		t.Errorf("%d bytes are kept, more than %d", n, maxMemory)
	}
	if !d.finds(append(text, "abbbbbbbbbbbbbbc"...)) {
		t.Error("did not find what is there")
	}
}

func FuzzFind(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add([]byte(g.text))
	}
	for _, piece := range hostile {
		f.Add([]byte(strings.Repeat(piece, 20)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		last := 0
		for _, m := range Default().Find(nil, text) {
			if m.Start < last || m.Start > m.SecretStart || m.SecretStart > m.SecretEnd || m.SecretEnd > m.End || m.End > len(text) {
				t.Fatalf("%+v in %d bytes, after a match at %d", m, len(text), last)
			}
			last = m.Start
		}
	})
}
