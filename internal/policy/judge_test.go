package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func host(t testing.TB, s string) Host {
	t.Helper()
	h, err := ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func compile(t testing.TB, routes ...Route) *Policy {
	t.Helper()
	p, err := Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheMostSpecificHostDecidesAlone(t *testing.T) {
	t.Parallel()
	get := []Match{{Methods: []string{"GET"}}}
	p := compile(t,
		Route{ID: "wide", Host: host(t, "*.test")},
		Route{ID: "narrow", Host: host(t, "*.ok.test")},
		Route{ID: "exact-get", Host: host(t, "a.ok.test"), Matches: get},
		Route{ID: "exact-2", Host: host(t, "a.ok.test"), Matches: []Match{{Paths: []PathMatch{{Type: PathExact, Value: "/x"}}}, {Methods: []string{"GET"}}}},
	)
	for _, c := range []struct{ host, method, path, want string }{
		{"b.test", "GET", "/", "wide"},
		{"b.ok.test", "POST", "/", "narrow"},
		{"x.b.ok.test", "POST", "/", "narrow"},
		{"a.ok.test", "GET", "/x", "exact-get"},
		{"A.ok.TEST.", "POST", "/x", "exact-2"},
		{"a.ok.test", "POST", "/", ""}, // the wildcards would allow it, and are not asked
		{"test", "GET", "/", ""},
		{"other.example", "GET", "/", ""},
	} {
		v, r := p.Request(Request{Host: c.host, Port: 443, TLS: true, Method: c.method, Path: c.path})
		got := ""
		if v.Allowed() {
			got = r.ID
			if v.Rule != r.ID {
				t.Errorf("%v: the verdict names %q, the route is %q", c, v.Rule, r.ID)
			}
		} else if r != nil {
			t.Errorf("%v: denied with a route", c)
		}
		if got != c.want {
			t.Errorf("%v: %q (%s)", c, got, v.Why)
		}
	}
}

func TestPortsAndCleartext(t *testing.T) {
	t.Parallel()
	p := compile(t,
		Route{ID: "tls", Host: host(t, "tls.test")},
		Route{ID: "plain", Host: host(t, "plain.test"), Plain: true},
		Route{ID: "ports", Host: host(t, "ports.test"), Ports: []uint16{8443, 9443}},
		Route{ID: "both", Host: host(t, "both.test"), Ports: []uint16{8080}, Plain: true},
	)
	for _, c := range []struct {
		host string
		port uint16
		tls  bool
		want bool
	}{
		{"tls.test", 443, true, true}, {"tls.test", 80, false, false}, {"tls.test", 443, false, false}, {"tls.test", 8443, true, false},
		{"plain.test", 80, false, true}, {"plain.test", 443, true, true}, {"plain.test", 443, false, false}, {"plain.test", 80, true, false},
		{"ports.test", 8443, true, true}, {"ports.test", 9443, true, true}, {"ports.test", 443, true, false}, {"ports.test", 8443, false, false},
		{"both.test", 8080, false, true}, {"both.test", 8080, true, true}, {"both.test", 80, false, false}, {"none.test", 443, true, false},
	} {
		v := p.Connect(c.host, c.port, c.tls)
		if v.Allowed() != c.want {
			t.Errorf("%+v: %+v", c, v)
		}
		if r, _ := p.Request(Request{Host: c.host, Port: c.port, TLS: c.tls, Method: "GET", Path: "/"}); r.Allowed() != c.want {
			t.Errorf("request %+v: %+v", c, r)
		}
		if !v.Allowed() && (v.Why == "" || !strings.HasPrefix(v.Ask, "egress:\n  routes:\n    - host: "+c.host)) {
			t.Errorf("%+v: denied as %+v", c, v)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	p := compile(t, Route{ID: "r", Host: host(t, "ok.test"), Matches: []Match{
		{Methods: []string{"get", "HEAD"}, Paths: []PathMatch{{Type: PathPrefix, Value: "/a/"}, {Type: PathExact, Value: "/b"}}},
		{Methods: []string{"POST"}, Paths: []PathMatch{{Type: PathRegex, Value: `/repos/[a-z]+/issues|/x`}}, Headers: []HeaderMatch{{Name: "x-scope", Value: "read"}}},
	}})
	for _, c := range []struct {
		method, path string
		scope        []string
		want         bool
	}{
		{"GET", "/a", nil, true}, {"GET", "/a/", nil, true}, {"HEAD", "/a/b/c", nil, true}, {"GET", "/b", nil, true},
		{"GET", "/ab", nil, false}, {"GET", "/b/", nil, false}, {"GET", "/", nil, false}, {"POST", "/a", nil, false}, {"get", "/a", nil, false},
		{"POST", "/repos/me/issues", []string{"read"}, true}, {"POST", "/x", []string{"read"}, true},
		{"POST", "/repos/me/issues/1", []string{"read"}, false}, {"POST", "/y/x", []string{"read"}, false}, {"POST", "/x\n", []string{"read"}, false},
		{"POST", "/x", nil, false}, {"POST", "/x", []string{"write"}, false}, {"POST", "/x", []string{"read", "write"}, false},
		{"GET", "/a/%62", nil, true}, {"GET", "/%61", nil, true}, {"GET", "*", nil, false}, {"GET", "", nil, false}, {"GET", "a", nil, false},
		{"GET", "/a/%2e%2e/c", nil, false}, {"GET", "/a/./b", nil, false}, {"GET", "/a%2fb", nil, false}, {"GET", "/a//b", nil, false},
		{"GET", "/a/%5c", nil, false}, {"GET", "/a/\\", nil, false}, {"GET", "/a/%00", nil, false}, {"GET", "/a/%0a", nil, false},
		{"GET", "/a/%252e", nil, false}, {"GET", "/a/%25%32%66", nil, false}, {"GET", "/a/%zz", nil, false}, {"GET", "/a/%f", nil, false},
		{"GET", "/a/..;x/b", nil, false}, {"GET", "/a/%ff", nil, false}, {"GET", "/a/100%25", nil, true},
	} {
		h := map[string][]string{"X-Scope": c.scope}
		v, _ := p.Request(Request{Host: "ok.test", Port: 443, TLS: true, Method: c.method, Path: c.path, Header: h})
		if v.Allowed() != c.want {
			t.Errorf("%s %q scope %v: %+v", c.method, c.path, c.scope, v)
		}
	}
}

func TestDenialsNameWhatWouldMatchAndWhatToAskFor(t *testing.T) {
	t.Parallel()
	p := compile(t, Route{ID: "b:egress.routes[0]", Host: host(t, "api.test"), Matches: []Match{
		{Methods: []string{"GET"}}, {Methods: []string{"POST"}, Paths: []PathMatch{{Type: PathPrefix, Value: "/v1"}}},
	}})
	v, _ := p.Request(Request{Host: "api.test", Port: 443, TLS: true, Method: "POST", Path: "/v2/x"})
	wantWhy := "the rules for api.test allow GET, POST /v1/*; POST /v2/x matches none of them"
	wantAsk := "egress:\n  routes:\n    - host: api.test\n      matches:\n        - methods: [POST]\n          paths: [{type: exact, value: /v2/x}]\n"
	if v.Rule != "b:egress.routes[0]" || v.Why != wantWhy || v.Ask != wantAsk {
		t.Errorf("%+v", v)
	}
	v, _ = p.Request(Request{Host: "new.test", Port: 8080, Method: "GET", Path: "/a b\"\n: [x"})
	if v.Why != "no rule of this bottle names the host new.test" || !strings.Contains(v.Ask, "plain: true\n      ports: [8080]") {
		t.Errorf("%+v", v)
	}
	v, _ = p.Request(Request{Host: "new.test", Port: 443, TLS: true, Method: "GET", Path: "/%0aegress:"})
	if strings.Contains(v.Ask, "\negress:\n") || strings.Count(v.Ask, "egress:") != 1 {
		t.Errorf("the path got into the manifest: %q", v.Ask)
	}
	v = p.Resolve("127.1")
	if v.Allowed() || !strings.HasPrefix(v.Ask, "# nothing") {
		t.Errorf("%+v", v)
	}
}

func TestTheZeroPolicyAndVerdictDeny(t *testing.T) {
	t.Parallel()
	var p Policy
	v, r := p.Request(Request{Host: "ok.test", Port: 443, TLS: true, Method: "GET", Path: "/"})
	if v.Allowed() || r != nil || p.Resolve("ok.test").Allowed() || p.Connect("ok.test", 443, true).Allowed() || (Verdict{}).Allowed() {
		t.Error("something is allowed")
	}
	if empty := compile(t); empty.Resolve("ok.test").Allowed() {
		t.Error("an empty list allows") // B14
	}
}

func TestB14MistakesStopTheLaunch(t *testing.T) {
	t.Parallel()
	ok := host(t, "ok.test")
	auth := func(scheme, ref, ph string) *Auth { return &Auth{Scheme: scheme, Ref: ref, Placeholder: ph} }
	for want, r := range map[string]Route{
		"needs an ID":                 {Host: ok},
		"needs a host":                {ID: "x"},
		"port 0":                      {ID: "x", Host: ok, Ports: []uint16{0}},
		"no HTTP method":              {ID: "x", Host: ok, Matches: []Match{{Methods: []string{"GE T"}}}},
		"must start with '/'":         {ID: "x", Host: ok, Matches: []Match{{Paths: []PathMatch{{Type: PathPrefix, Value: "api"}}}}},
		"can match no request":        {ID: "x", Host: ok, Matches: []Match{{Paths: []PathMatch{{Type: PathExact, Value: "/a/../b"}}}}},
		"unknown path type":           {ID: "x", Host: ok, Matches: []Match{{Paths: []PathMatch{{Type: "glob", Value: "/*"}}}}},
		"missing closing":             {ID: "x", Host: ok, Matches: []Match{{Paths: []PathMatch{{Type: PathRegex, Value: "/(a"}}}}},
		"header name":                 {ID: "x", Host: ok, Matches: []Match{{Headers: []HeaderMatch{{Name: "a b"}}}}},
		"unknown auth scheme":         {ID: "x", Host: ok, Auth: auth("bearer", "K", "placeholder")},
		"names no credential":         {ID: "x", Host: ok, Auth: auth("Bearer", "", "placeholder")},
		"visible ASCII":               {ID: "x", Host: ok, Auth: auth("Bearer", "K", "short")},
		"in cleartext":                {ID: "x", Host: ok, Plain: true, Auth: auth("Bearer", "K", "placeholder")},
		"host bits zero":              {ID: "x", Host: ok, Networks: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8")}},
		"scheme and authority alone":  {ID: "x", Host: ok, Upstream: &Upstream{URL: "https://up.test/path"}},
		"disguise":                    {ID: "x", Host: ok, Upstream: &Upstream{URL: "http://127.1"}},
		"m.md:3:5: x: a rule needs a": {ID: "x", At: "m.md:3:5"},
	} {
		p, err := Compile([]Route{r})
		if err == nil || p != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	_, err := Compile([]Route{{ID: "x"}, {Host: ok}, {ID: "x", Host: ok}})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not every mistake is told: %v", err)
	}
}

func TestOverBroadRulesAreMarked(t *testing.T) {
	t.Parallel()
	paths := func(kind PathKind, v string, methods ...string) []Match {
		return []Match{{Methods: methods, Paths: []PathMatch{{Type: kind, Value: v}}}}
	}
	for name, c := range map[string]struct {
		r     Route
		broad bool
	}{
		"one host":              {Route{Host: host(t, "docs.test")}, false},
		"own wildcard":          {Route{Host: host(t, "*.corp.test")}, false},
		"top-level domain":      {Route{Host: host(t, "*.com")}, true},
		"second-level registry": {Route{Host: host(t, "*.co.uk")}, true},
		"shared suffix":         {Route{Host: host(t, "*.github.io")}, true},
		"cloud storage":         {Route{Host: host(t, "*.s3.amazonaws.com")}, true},
		"code host":             {Route{Host: host(t, "api.github.com")}, true},
		"code host, reading":    {Route{Host: host(t, "api.github.com"), Matches: []Match{{Methods: []string{"GET"}}}}, false},
		"code host, one repo":   {Route{Host: host(t, "api.github.com"), Matches: paths(PathPrefix, "/repos/me/x", "POST")}, false},
		"code host, everywhere": {Route{Host: host(t, "api.github.com"), Matches: paths(PathPrefix, "/", "POST")}, true},
		"wildcard over one":     {Route{Host: host(t, "*.crates.io")}, true},
		"any regex":             {Route{Host: host(t, "docs.test"), Matches: paths(PathRegex, ".*")}, true},
		"any anchored regex":    {Route{Host: host(t, "docs.test"), Matches: paths(PathRegex, "^/.*$")}, true},
		"narrow regex":          {Route{Host: host(t, "docs.test"), Matches: paths(PathRegex, "/v[0-9]+/.*")}, false},
		"whole network":         {Route{Host: host(t, "docs.test"), Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}, true},
		"small network":         {Route{Host: host(t, "docs.test"), Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}, false},
		"model API, own key":    {Route{Host: host(t, "api.anthropic.com"), Auth: &Auth{}}, false},
		"model API, any key":    {Route{Host: host(t, "api.anthropic.com")}, true},
	} {
		if got := OverBroad(c.r); (got != "") != c.broad {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/api", "/api/../x", "/api%2fx", "/%61pi", "/api/%252e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, ok := decodePath(s)
		if !ok {
			return
		}
		m := PathMatch{Type: PathPrefix, Value: "/api"}
		for elem := range strings.SplitSeq(path, "/") {
			if elem == "." || elem == ".." {
				t.Fatalf("%q decoded to %q", s, path)
			}
		}
		if strings.ContainsAny(path, "\x00\\\n\r") || strings.Contains(path, "//") {
			t.Fatalf("%q decoded to %q", s, path)
		}
		if m.match(path) && path != "/api" && !strings.HasPrefix(path, "/api/") {
			t.Fatalf("%q matched /api", path)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	p := compile(b,
		Route{ID: "a", Host: host(b, "*.ok.test")},
		Route{ID: "b", Host: host(b, "api.ok.test"), Matches: []Match{{Methods: []string{"GET"}}, {Methods: []string{"POST"}, Paths: []PathMatch{{Type: PathPrefix, Value: "/v1"}}}}},
	)
	r := Request{Host: "api.ok.test", Port: 443, TLS: true, Method: "POST", Path: "/v1/messages"}
	b.ReportAllocs()
	for b.Loop() {
		if v, _ := p.Request(r); !v.Allowed() {
			b.Fatal(v.Why)
		}
	}
}
