package preset_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/preset"
)

// request reads "GET https://host/path"; in the place of the method, "query", "mutation" and
// "subscription" are GraphQL's.
func request(t *testing.T, method, address string) policy.Request {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(address, u.Scheme+"://"), "/")
	r := policy.Request{Host: u.Hostname(), Port: 443, TLS: u.Scheme == "https", Method: method, Path: "/" + path}
	if !r.TLS {
		r.Port = 80
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		r.Port = uint16(n)
	}
	if strings.ToLower(method) == method {
		r.Method, r.GraphQL = "POST", func() string { return method }
	}
	return r
}

// use reads "github repos=acme/app access=read" and checks its values.
func use(t *testing.T, line string) []policy.Route {
	t.Helper()
	words := strings.Fields(line)
	p, ok := preset.Find(words[0])
	if !ok {
		t.Fatalf("no preset %q", words[0])
	}
	args := preset.Args{}
	for _, w := range words[1:] {
		name, values, _ := strings.Cut(w, "=")
		args[name] = strings.Split(values, ",")
	}
	for _, q := range p.Params {
		for _, v := range args[q.Name] {
			if q.Check != nil && q.Check(v) != nil {
				t.Fatalf("%s: %v", line, q.Check(v))
			}
		}
	}
	return numbered(p.Routes(args, nil))
}

func numbered(routes []policy.Route) []policy.Route {
	for i := range routes {
		routes[i].ID = strconv.Itoa(i)
	}
	return routes
}

// TestWhatEachPresetOpens runs the requests of testdata: an unindented line uses a preset, the
// indented ones below it say what it allows.
func TestWhatEachPresetOpens(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no tables", err)
	}
	tested := map[string][2]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var compiled *policy.Policy
		name, n := "", 0
		for line := range strings.Lines(string(text)) {
			n++
			line = strings.TrimRight(line, "\n")
			switch words := strings.Fields(line); {
			case len(words) == 0, words[0] == "#":
			case line[0] != ' ':
				name = words[0]
				if compiled, err = policy.Compile(use(t, line)); err != nil {
					t.Fatal(err)
				}
			default:
				v, _ := compiled.Request(request(t, words[1], words[2]))
				if v.Action.String() != words[0] {
					t.Errorf("%s:%d: %s: %s: %s", file, n, name, v.Action, v.Why)
				}
				c := tested[name]
				c[v.Action]++
				tested[name] = c
			}
		}
	}
	for _, p := range preset.All() {
		if c := tested[p.Name]; c[policy.Allow] == 0 || c[policy.Deny] == 0 {
			t.Errorf("%s: %d requests allowed, %d denied: a table needs both", p.Name, c[policy.Allow], c[policy.Deny])
		}
	}
}

func TestCapabilitiesAreWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"anthropic":                               "anthropic: inference",
		"npm":                                     "npm: read",
		"github repos=acme/app":                   "github: read acme/app",
		"github repos=a/b,c/d,e/f,g/h,i/j":        "github: read a/b, c/d, e/f, g/h and 1 more",
		"gitlab repos=a/b access=write":           "gitlab: write a/b",
		"gitlab repos=a/b ids=7 host=git.example": "gitlab: read a/b 7 git.example",
	} {
		for _, r := range use(t, line) {
			if r.Capability != want {
				t.Errorf("%s: %q, want %q", line, r.Capability, want)
			}
		}
	}
}

// Where a preset takes a credential, it goes to no host that doesn't need it, and a conversation with
// a model is marked as one.
func TestCredentials(t *testing.T) {
	t.Parallel()
	auth := &policy.Auth{Scheme: policy.SchemeBearer, Ref: "TOKEN", Placeholder: "placeholder"}
	for _, p := range preset.All() {
		var with []string
		for _, r := range p.Routes(preset.Args{"repos": {"acme/app"}, "ids": {"42"}, "access": {"write"}}, auth) {
			if r.Auth != nil {
				with = append(with, r.Host.String())
			}
			if r.Scan.Model != (p.Token != "") {
				t.Errorf("%s: model %v", p.Name, r.Scan.Model)
			}
		}
		want := map[string]string{
			"anthropic": "api.anthropic.com", "openai": "api.openai.com", "npm": "registry.npmjs.org",
			"github": "uploads.github.com api.github.com", "gitlab": "gitlab.com",
		}[p.Name]
		if strings.Join(with, " ") != want || (p.Scheme != "") != (want != "") {
			t.Errorf("%s: the credential goes to %v, want %q", p.Name, with, want)
		}
	}
}

func TestValuesThatWidenAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ preset, param, good, bad string }{
		{"github", "repos", "acme/app a-b/c.d_e", "acme acme/ /app acme/app/x acme/* ../app acme/.. acme/app.git acme%2fapp acme//app acmé/app acme/app?x"},
		{"gitlab", "repos", "acme/app acme/team/app", "acme acme/../x acme/app.git *"},
		{"gitlab", "ids", "1 42", "0 01 -1 x 1/2 +1"},
		{"gitlab", "host", "git.example.org", "*.example.org git.example.org/x 127.1 example.org:8443"},
		{"golang", "modules", "go.example.org go.example.org/x", "example Go.example.org/x ./x *.example.org go.example.org/../x"},
	} {
		p, _ := preset.Find(c.preset)
		for _, q := range p.Params {
			if q.Name != c.param {
				continue
			}
			for _, v := range strings.Fields(c.good) {
				if err := q.Check(v); err != nil {
					t.Errorf("%s.%s %q: %v", c.preset, c.param, v, err)
				}
			}
			for _, v := range append(strings.Fields(c.bad), "", strings.Repeat("a", 300)) {
				if q.Check(v) == nil {
					t.Errorf("%s.%s %q was accepted", c.preset, c.param, v)
				}
			}
		}
	}
}

func TestSuggestions(t *testing.T) {
	t.Parallel()
	const lead = "egress:\n  allow:\n    - "
	for _, c := range []struct{ method, address, want string }{
		{"GET", "https://registry.npmjs.org/x", "npm"},
		{"GET", "http://deb.debian.org/debian/x", "debian"},
		{"POST", "https://api.anthropic.com/v1/messages", "anthropic: inference"},
		{"GET", "https://api.github.com/repos/acme/app/issues", "github: {repos: [acme/app], access: read}"},
		{"POST", "https://api.github.com/repos/acme/app/issues", "github: {repos: [acme/app], access: write}"},
		{"GET", "https://github.com/acme/app.git/info/refs", "github: {repos: [acme/app], access: read}"},
		{"POST", "https://github.com/acme/app/git-receive-pack", "github: {repos: [acme/app], access: write}"},
		{"GET", "https://raw.githubusercontent.com/1/2/x", `github: {repos: ["1/2"], access: read}`},
		{"PUT", "https://registry.npmjs.org/x", ""},
		{"GET", "https://registry.npmjs.org:8443/x", ""},
		{"POST", "https://api.anthropic.com/v1/files", ""},
		{"POST", "https://api.github.com/gists", ""},
		{"POST", "https://api.github.com/repos/acme/app/forks", ""},
		{"GET", "https://api.github.com/repos/acme/..", ""},
		{"GET", "https://example.org/", ""},
		{"GET", "https://127.1/", ""},
	} {
		want := c.want
		if want != "" {
			want = lead + want + "\n"
		}
		if got := preset.Suggest(request(t, c.method, c.address)); got != want {
			t.Errorf("%s %s: %q", c.method, c.address, got)
		}
	}
	if got := preset.Suggest(policy.Request{Host: "pypi.org"}); got != lead+"pypi\n" {
		t.Errorf("a name alone: %q", got)
	}
	if got := preset.Suggest(policy.Request{Host: "pypi.org", Port: 22, TLS: true}); got != "" {
		t.Errorf("another port: %q", got)
	}
	p, err := policy.Compile(nil, preset.Suggest)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := p.Request(request(t, "GET", "https://pypi.org/simple/x/")); v.Ask != lead+"pypi\n" {
		t.Errorf("the denial asks for %q", v.Ask)
	}
}

func FuzzSuggest(f *testing.F) {
	f.Add("api.github.com", "GET", "/repos/acme/app/issues")
	f.Add("github.com", "POST", "/a/b.git/git-upload-pack")
	f.Fuzz(func(t *testing.T, host, method, path string) {
		r := policy.Request{Host: host, Port: 443, TLS: true, Method: method, Path: path}
		if s := preset.Suggest(r); s != "" && strings.Count(s, "\n") != 3 {
			t.Errorf("%q %q: %q", host, path, s)
		}
	})
}

func BenchmarkSuggest(b *testing.B) {
	for name, r := range map[string]policy.Request{
		"unknown": {Host: "example.org", Port: 443, TLS: true, Method: "GET", Path: "/"},
		"npm":     {Host: "registry.npmjs.org", Port: 443, TLS: true, Method: "GET", Path: "/x"},
		"github":  {Host: "api.github.com", Port: 443, TLS: true, Method: "GET", Path: "/repos/acme/app"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				preset.Suggest(r)
			}
		})
	}
}
