package policy

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	h := host(t, "ok.test")
	prefix := func(v string) []PathMatch { return []PathMatch{{Type: PathPrefix, Value: v}} }
	exact := func(v string) []PathMatch { return []PathMatch{{Type: PathExact, Value: v}} }
	regex := func(v string) []PathMatch { return []PathMatch{{Type: PathRegex, Value: v}} }
	get := []Match{{Methods: []string{"GET"}}}
	for name, c := range map[string]struct {
		first, second Route
		want          string // "problem of-which", for the second rule
	}{
		"any, then one":           {Route{}, Route{Matches: get}, "shadowed"},
		"one, then any":           {Route{Matches: get}, Route{}, ""},
		"prefix, then below":      {Route{Matches: []Match{{Paths: prefix("/a")}}}, Route{Matches: []Match{{Paths: exact("/a/b")}}}, "shadowed"},
		"prefix, then itself":     {Route{Matches: []Match{{Paths: prefix("/a/")}}}, Route{Matches: []Match{{Paths: prefix("/a")}}}, "shadowed"},
		"prefix, then beside":     {Route{Matches: []Match{{Paths: prefix("/a")}}}, Route{Matches: []Match{{Paths: exact("/ab")}}}, ""},
		"below, then prefix":      {Route{Matches: []Match{{Paths: exact("/a/b")}}}, Route{Matches: []Match{{Paths: prefix("/a")}}}, ""},
		"regex over exact":        {Route{Matches: []Match{{Paths: regex("/a/[0-9]+")}}}, Route{Matches: []Match{{Paths: exact("/a/7")}}}, "shadowed"},
		"the same regex":          {Route{Matches: []Match{{Paths: regex("/a")}}}, Route{Matches: []Match{{Paths: regex("/a")}}}, "shadowed"},
		"a header more":           {Route{Matches: get}, Route{Matches: []Match{{Methods: []string{"GET"}, Headers: []HeaderMatch{{"X-A", "1"}}}}}, "shadowed"},
		"a header less":           {Route{Matches: []Match{{Headers: []HeaderMatch{{"X-A", "1"}}}}}, Route{Matches: get}, ""},
		"queries, then any POST":  {Route{Matches: []Match{{Methods: []string{"POST"}, GraphQL: GraphQLQuery}}}, Route{Matches: []Match{{Methods: []string{"POST"}}}}, ""},
		"any POST, then queries":  {Route{Matches: []Match{{Methods: []string{"POST"}}}}, Route{Matches: []Match{{Methods: []string{"POST"}, GraphQL: GraphQLQuery}}}, "shadowed"},
		"another port":            {Route{}, Route{Ports: []uint16{8443}}, ""},
		"a port of several":       {Route{Ports: []uint16{443, 8443}}, Route{}, "shadowed"},
		"cleartext too":           {Route{}, Route{Plain: true}, ""},
		"no path begins so":       {Route{Matches: get}, Route{Matches: []Match{{Paths: regex("a/.*")}}}, "unreachable"},
		"two values of a header":  {Route{Matches: get}, Route{Matches: []Match{{Headers: []HeaderMatch{{"X-A", "1"}, {"x-a", "2"}}}}}, "unreachable"},
		"nobody looks":            {Route{Ports: []uint16{8443}}, Route{Passthrough: true}, "uninspected"},
		"nobody looks, TCP":       {Route{}, Route{TCP: true, Ports: []uint16{22}}, "uninspected"},
		"a narrower name decides": {Route{Host: host(t, "a.ok.test")}, Route{Host: host(t, "*.ok.test")}, "hidden"},
		"a suffix itself":         {Route{}, Route{Host: host(t, "*.ok.test")}, ""},
		"over-broad":              {Route{}, Route{Host: host(t, "*.test")}, "over-broad hidden"},
	} {
		c.first.ID, c.second.ID = "1", "2"
		for _, r := range []*Route{&c.first, &c.second} {
			if r.Host.IsZero() {
				r.Host = h
			}
		}
		compile(t, c.first, c.second)
		var got []string
		for _, f := range Check([]Route{c.first, c.second}) {
			if f.Rule == "2" {
				got = append(got, string(f.Problem))
			}
			if f.Why == "" {
				t.Errorf("%s: %s without a reason", name, f.Problem)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Two capabilities may share a host; one that is there twice is told once.
func TestCapabilitiesAreCheckedAsAWhole(t *testing.T) {
	t.Parallel()
	uses := func(second string) (found []string) {
		var routes []Route
		for i, path := range []string{"/a", second} {
			for _, h := range []string{"api.test", "store.test"} {
				r := Route{ID: path + h + strings.Repeat("'", i), At: strings.Repeat("x", i+1), Host: host(t, h), Capability: "forge: " + path}
				if h == "api.test" {
					r.Matches = []Match{{Paths: []PathMatch{{Type: PathPrefix, Value: path}}}}
				}
				routes = append(routes, r)
			}
		}
		compile(t, routes...)
		for _, f := range Check(routes) {
			found = append(found, string(f.Problem)+" "+f.Rule)
		}
		return found
	}
	if f := uses("/b"); f != nil {
		t.Errorf("two capabilities of one service: %v", f)
	}
	if f := uses("/a/x"); len(f) != 1 || f[0] != "shadowed /a/xapi.test'" {
		t.Errorf("one within the other: %v", f)
	}
}

func TestTunnelsAreNoRequests(t *testing.T) {
	t.Parallel()
	p := compile(t,
		Route{ID: "pinned", Host: host(t, "pinned.test"), Passthrough: true},
		Route{ID: "other-port", Host: host(t, "pinned.test"), Ports: []uint16{8443}},
		Route{ID: "db", Host: host(t, "db.test"), TCP: true, Ports: []uint16{5432}},
	)
	for _, c := range []struct {
		host    string
		port    uint16
		tls     bool
		connect bool
		tunnel  string
	}{
		{"pinned.test", 443, true, true, "pinned"}, {"PINNED.test.", 443, true, true, "pinned"}, {"pinned.test", 80, false, false, ""},
		{"pinned.test", 8443, true, true, ""}, {"db.test", 5432, false, true, "db"}, {"db.test", 5432, true, true, "db"},
		{"db.test", 443, true, false, ""}, {"127.1", 5432, true, false, ""}, {"else.test", 443, true, false, ""},
	} {
		if v := p.Connect(c.host, c.port, c.tls); v.Allowed() != c.connect {
			t.Errorf("%+v: %+v", c, v)
		} else if c.tunnel != "" && !strings.HasSuffix(v.Why, "uninspected") {
			t.Errorf("%+v: %q doesn't say that nobody looks", c, v.Why)
		}
		got := ""
		if r := p.Tunnel(c.host, c.port); r != nil {
			got = r.ID
		}
		if got != c.tunnel {
			t.Errorf("%+v: the tunnel is %q", c, got)
		}
	}
	// A18: what passes unread is never a request that a credential or a scan could go with.
	for _, r := range []Request{{Host: "pinned.test", Port: 443, TLS: true}, {Host: "db.test", Port: 5432}, {Host: "pinned.test", Port: 80}} {
		r.Method, r.Path = "GET", "/"
		if v, route := p.Request(r); v.Allowed() || route != nil || v.Why == "" {
			t.Errorf("%+v: %+v", r, v)
		}
	}
}

func TestUninspectedRulesCarryNothingElse(t *testing.T) {
	t.Parallel()
	h := host(t, "ok.test")
	for want, routes := range map[string][]Route{
		"see no request":         {{ID: "1", Host: h, Passthrough: true, Auth: &Auth{Scheme: "Bearer", Ref: "K", Placeholder: "placeholder"}}},
		"mean nothing there":     {{ID: "1", Host: h, TCP: true, Ports: []uint16{22}, Matches: []Match{{Methods: []string{"GET"}}}}},
		"tcp needs ports":        {{ID: "1", Host: h, TCP: true}},
		"two things":             {{ID: "1", Host: h, TCP: true, Passthrough: true, Ports: []uint16{22}}},
		"the same host and port": {{ID: "1", Host: h}, {ID: "2", Host: h, Passthrough: true}},
		"1 speaks of the same":   {{ID: "1", Host: h, TCP: true, Ports: []uint16{80}}, {ID: "2", Host: h, Plain: true}},
		"only \"query\" can":     {{ID: "1", Host: h, Matches: []Match{{GraphQL: "mutation"}}}},
		"one line of at most":    {{ID: "1", Host: h, Capability: "a\nb"}},
		"400 visible bytes":      {{ID: "1", Host: h, Capability: strings.Repeat("a", 401)}},
	} {
		if p, err := Compile(routes); err == nil || p != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	compile(t, Route{ID: "1", Host: h, Passthrough: true}, Route{ID: "2", Host: h, TCP: true, Ports: []uint16{443, 22}})
}

func TestVerdictsSpeakCapabilities(t *testing.T) {
	t.Parallel()
	p, err := Compile([]Route{{ID: "r", Host: host(t, "api.test"), Capability: "forge: read acme/app", Matches: []Match{
		{Methods: []string{"GET"}, Paths: []PathMatch{{Type: PathPrefix, Value: "/repos/acme/app"}}},
		{Methods: []string{"POST"}, Paths: []PathMatch{{Type: PathExact, Value: "/graphql"}}, GraphQL: GraphQLQuery},
	}}}, func(r Request) string {
		if r.Host == "api.test" && r.Path == "/gists" {
			return "capability"
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, graphQL string) Verdict {
		r := Request{Host: "API.test", Port: 443, TLS: true, Method: method, Path: path}
		if graphQL != "" {
			r.GraphQL = func() string { return graphQL }
		}
		v, _ := p.Request(r)
		return v
	}
	if v := ask("GET", "/repos/acme/app/x", ""); !v.Allowed() || v.Why != "rule r (forge: read acme/app) allows it" {
		t.Errorf("%+v", v)
	}
	if v := ask("POST", "/graphql", "query"); !v.Allowed() {
		t.Errorf("%+v", v)
	}
	want := "the rules for api.test allow forge: read acme/app (GET /repos/acme/app/*, POST /graphql with a GraphQL query); POST /gists matches none of them"
	if v := ask("POST", "/gists", ""); v.Allowed() || v.Why != want || v.Ask != "capability" {
		t.Errorf("%+v", v)
	}
	for _, kind := range []string{"mutation", "subscription", "other", ""} {
		if v := ask("POST", "/graphql", kind); v.Allowed() || !strings.HasPrefix(v.Ask, "egress:\n  routes:") {
			t.Errorf("%q: %+v", kind, v)
		}
	}
}

func BenchmarkCompile200(b *testing.B) {
	routes := many(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(routes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck200(b *testing.B) {
	routes := many(b)
	for b.Loop() {
		Check(routes)
	}
}

// many is 200 rules of 50 hosts.
func many(b *testing.B) []Route {
	var routes []Route
	for i := range 200 {
		n := string(rune('a'+i%10)) + string(rune('a'+i/40))
		routes = append(routes, Route{ID: strings.Repeat("x", i+1), Host: host(b, n+".ok.test"), Capability: "forge: read acme/app",
			Matches: []Match{{Methods: []string{"GET"}, Paths: []PathMatch{{Type: PathPrefix, Value: "/" + strings.Repeat("y", i+1)}}}}})
	}
	return routes
}
