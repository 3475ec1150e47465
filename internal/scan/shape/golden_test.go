package shape

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	digits  = "0123456789"
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

var alphabets = map[string]string{
	"w": letters + digits, "l": letters, "d": digits, "h": "0123456789abcdef",
	"u": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "b": letters + digits + "+/", "j": letters + digits + "-_",
}

var blank = regexp.MustCompile(`\{([wldhubj])(\d+)\}`)

// fill replaces the blanks of a golden text, by the same characters each time.
func fill(text string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	r := rand.New(rand.NewPCG(h.Sum64(), 0))
	text = blank.ReplaceAllStringFunc(text, func(s string) string {
		m := blank.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabets[m[1]][r.IntN(len(alphabets[m[1]]))]
		}
		if n > 0 && (b[n-1] == '-' || b[n-1] == '_') {
			b[n-1] = 'x'
		}
		return string(b)
	})
	return strings.NewReplacer("{n}", "\n", "{e}", `\n`).Replace(text)
}

type golden struct {
	line               int
	found              bool
	rule, text, secret string
	start              int // of the secret, -1 where the text does not mark it
}

func goldens(tb testing.TB) []golden {
	tb.Helper()
	file, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var all []golden
	n := 0
	for line := range strings.Lines(string(file)) {
		n++
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		rule, text, ok := strings.Cut(line[2:], " | ")
		if !ok {
			tb.Fatalf("golden.txt:%d: no text", n)
		}
		g := golden{line: n, found: line[0] == '+', rule: rule, start: -1}
		text = fill(text)
		if before, after, ok := strings.Cut(text, "«"); ok {
			secret, rest, _ := strings.Cut(after, "»")
			g.start, g.secret = len(before), secret
			text = before + secret + rest
		}
		g.text = text
		all = append(all, g)
	}
	return all
}

func TestGolden(t *testing.T) {
	t.Parallel()
	rules := Default()
	covered := map[string]bool{}
	for _, g := range goldens(t) {
		if g.found {
			covered[g.rule] = true
		}
		t.Run(fmt.Sprintf("%d-%s", g.line, g.rule), func(t *testing.T) {
			t.Parallel()
			if rules.Describe(g.rule) == "" {
				t.Fatal("there is no such rule")
			}
			for _, around := range []struct{ before, after string }{
				{"", ""}, {"some words ", "\nand more"}, {strings.Repeat("filler ", 5000), "\n" + strings.Repeat("filler ", 5000)},
			} {
				text := []byte(around.before + g.text + around.after)
				ms := rules.Find(nil, text)
				if !g.found {
					if len(ms) > 0 {
						t.Errorf("%q: found %+v, want nothing", g.text, ms)
					}
					continue
				}
				var m *Match
				for i := range ms {
					if ms[i].Rule == g.rule {
						m = &ms[i]
					}
				}
				if m == nil {
					t.Fatalf("%q: found %+v, want %s", g.text, ms, g.rule)
				}
				if at := len(around.before) + g.start; g.start >= 0 && (m.SecretStart != at || m.SecretEnd != at+len(g.secret)) {
					t.Errorf("%q: the secret is %q, want %q", g.text, text[m.SecretStart:m.SecretEnd], g.secret)
				}
			}
		})
	}
	for i := range ownSpecs {
		if id := ownSpecs[i].id; !covered[id] {
			t.Errorf("testdata/golden.txt has no example of our rule %s", id)
		}
	}
}
