package manifest_test

import (
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/preset"
)

const capable = `
-- agents/worker.md --
---
bottle: b
---
-- presets/forge.md --
---
parameters:
  repo: {pattern: "[a-z.]+/[a-z]+"}
  branch: {values: [main, next], default: main}
routes:
  - host: forge.example.org
    matches: [{methods: [GET], paths: [{type: prefix, value: "/repos/{{repo}}"}, {type: regex, value: "/raw/{{ repo }}/{{branch}}/.*"}]}]
    auth: {scheme: Bearer, token_ref: FORGE}
  - host: status.example.org
---
-- bottles/b.md --
---
egress:
  allow:
    - pypi
    - anthropic: {access: inference, auth: {token_ref: WORK_KEY, scheme: Bearer}}
    - openai: inference
    - gitlab: {repos: acme/app, ids: [42]}
    - forge: {repo: [a.b/c, d/e]}
  routes:
    - {host: pinned.example.org, passthrough: true}
    - {host: db.example.org, ports: [5432], tcp: true, networks: [10.1.0.0/16], dlp: {budget: 2MiB}}
    - {host: own.example.org, dlp: {budget: none, outbound_detectors: [known_secrets], allow: [x]}}
  tcp: ["mail.example.org:993"]
dlp: {budget: 64MiB, injection: block, inbound_detectors: [echo, invisible], secrets: [DB_PASSWORD], rules: ~/shapes.toml, canary: false}
---
`

func TestCapabilitiesBecomeRules(t *testing.T) {
	t.Parallel()
	e, err := manifest.Load(home(capable), "", nil, "").Effective("worker", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range e.Routes {
		s := r.ID + " " + r.Host.String() + " at " + strings.TrimPrefix(r.Route.At, "bottles/b.md:")
		if r.Capability != "" {
			s += " = " + r.Capability
		}
		if r.Auth != nil {
			s += " with " + r.Auth.Scheme + " " + r.Auth.Ref
		}
		if r.Uninspected() {
			s += " unread"
		}
		if r.Scan.Model {
			s += " model"
		}
		got = append(got, s)
	}
	same(t, "rules", got, []string{
		"b:egress.allow[0]/pypi.org pypi.org at 4:7 = pypi: read",
		"b:egress.allow[0]/files.pythonhosted.org files.pythonhosted.org at 4:7 = pypi: read",
		"b:egress.allow[1] api.anthropic.com at 5:7 = anthropic: inference with Bearer WORK_KEY model",
		"b:egress.allow[2] api.openai.com at 6:7 = openai: inference with Bearer OPENAI_API_KEY model",
		"b:egress.allow[3]/gitlab.com gitlab.com at 7:7 = gitlab: read acme/app 42",
		"b:egress.allow[3]/gitlab.com#2 gitlab.com at 7:7 = gitlab: read acme/app 42",
		"b:egress.allow[4]/forge.example.org forge.example.org at 8:7 = forge: main, a.b/c with Bearer FORGE",
		"b:egress.allow[4]/forge.example.org#2 forge.example.org at 8:7 = forge: main, d/e with Bearer FORGE",
		"b:egress.allow[4]/status.example.org status.example.org at 8:7 = forge",
		"b:egress.routes[0] pinned.example.org at 10:7 unread",
		"b:egress.routes[1] db.example.org at 11:7 unread",
		"b:egress.routes[2] own.example.org at 12:7",
		"b:egress.tcp[0] mail.example.org at 13:9 unread",
	})
	same(t, "a value in an expression is text", e.Routes[6].Matches[0].Paths[1].Value, `/raw/a\.b/c/main/.*`)
	if p := e.Routes[2].TokenAt.String(); p != "bottles/b.md:5:56" {
		t.Errorf("the credential is named at %s", p)
	}

	bottle := policy.Scan{Budget: 64 << 20, Injection: policy.Enforce, Off: []policy.Detector{policy.Injection}}
	same(t, "the bottle's scanning", e.DLP.Default, bottle)
	same(t, "a rule without its own", e.Routes[0].Scan, bottle)
	same(t, "a rule with its own", e.Routes[11].Scan, policy.Scan{Injection: policy.Enforce, Allow: []string{"x"},
		Off: []policy.Detector{policy.TokenPatterns, policy.Entropy, policy.Injection}})
	same(t, "what nobody sees", e.Routes[9].Scan, policy.Scan{Budget: 64 << 20})
	same(t, "what nobody sees, with its own", e.Routes[10].Scan, policy.Scan{Budget: 2 << 20})
	if d := e.DLP; d.Canary || d.Rules != "~/shapes.toml" || len(d.Secrets) != 1 || d.Secrets[0].Name != "DB_PASSWORD" || d.Secrets[0].At.Line != 14 {
		t.Errorf("%+v", d)
	}
}

// What a denial proposes, pasted into a bottle, allows what was denied.
func TestWhatADenialProposesAllowsIt(t *testing.T) {
	t.Parallel()
	for _, r := range []policy.Request{
		{Host: "registry.npmjs.org", Path: "/x"}, {Host: "proxy.golang.org", Path: "/github.com/a/b/@v/list"}, {Host: "deb.debian.org", Port: 80, Path: "/debian/x"},
		{Host: "api.github.com", Path: "/repos/acme/app/issues"}, {Host: "api.github.com", Method: "POST", Path: "/repos/acme/app/issues"},
		{Host: "github.com", Method: "POST", Path: "/acme/app.git/git-receive-pack"}, {Host: "raw.githubusercontent.com", Path: "/1/-x/y"},
		{Host: "api.openai.com", Method: "POST", Path: "/v1/embeddings"}, {Host: "other.example", Method: "PATCH", Path: "/a%20b/\"x"},
		{Host: "other.example", Port: 8080, Path: "/yes"}, {Host: "api.github.com", Method: "POST", Path: "/gists"},
	} {
		r.TLS = r.Port != 80 && r.Port != 8080
		if r.Port == 0 {
			r.Port = 443
		}
		if r.Method == "" {
			r.Method = "GET"
		}
		p, err := policy.Compile(nil, preset.Suggest)
		if err != nil {
			t.Fatal(err)
		}
		denied, _ := p.Request(r)
		m := manifest.Load(home("-- bottles/b.md --\n---\n"+denied.Ask+"---\n"), "", nil, "")
		e, err := m.EffectiveBottle("b")
		if err != nil {
			t.Errorf("%s: %v", denied.Ask, err)
			continue
		}
		var routes []policy.Route
		for _, x := range e.Routes {
			if x.Auth != nil {
				x.Auth.Placeholder = "placeholder" // the plan's
			}
			routes = append(routes, x.Route)
		}
		if p, err = policy.Compile(routes); err != nil {
			t.Errorf("%s: %v", denied.Ask, err)
			continue
		}
		if v, _ := p.Request(r); !v.Allowed() {
			t.Errorf("%s %s%s: %s\n%s", r.Method, r.Host, r.Path, v.Why, denied.Ask)
		}
	}
}

// Invariant 6: a repository brings neither bottles nor presets.
func TestARepositoryBringsNoPresets(t *testing.T) {
	t.Parallel()
	m := manifest.Load(home("-- agents/a.md --\n---\nbottle: b\n---\n-- bottles/b.md --\n---\negress: {allow: [evil]}\n---\n"), "/home", home("-- presets/evil.md --\n---\nroutes: [{host: evil.example}]\n---\n"), "/repo")
	if _, err := m.Effective("a", nil); err == nil || !strings.Contains(err.Error(), `there is no preset "evil"`) {
		t.Error(err)
	}
	if w := m.Warnings(); len(w) != 1 || !strings.Contains(w[0].Msg, "never presets") {
		t.Error(w)
	}
}

func TestAUseOfAPresetIsBounded(t *testing.T) {
	t.Parallel()
	values := "[" + strings.TrimSuffix(strings.Repeat("v%, ", 40), ", ") + "]"
	for i := range 40 {
		values = strings.Replace(values, "%", string(rune('a'+i%26))+string(rune('a'+i/26)), 1)
	}
	m := manifest.Load(home("-- presets/p.md --\n---\nparameters: {a: {}, b: {}}\nroutes: [{host: \"{{a}}.{{b}}.example.org\"}]\n---\n"+
		"-- agents/a.md --\n---\nbottle: b\n---\n-- bottles/b.md --\n---\negress: {allow: [{p: {a: "+values+", b: "+values+"}}]}\n---\n"), "", nil, "")
	if _, err := m.Effective("a", nil); err == nil || !strings.Contains(err.Error(), "more than 256 rules") {
		t.Error(err)
	}
}
