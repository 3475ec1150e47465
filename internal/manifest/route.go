package manifest

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// Route is one egress rule. Its Auth has no placeholder yet, and its Upstream no CA text: CAFile
// names the file to read, as it was written.
type Route struct {
	policy.Route
	At     Pos
	CAFile string
	// TokenAt is where the credential is named.
	TokenAt Pos
	// Scanned tells that the rule has a dlp of its own.
	Scanned bool
	scan    scan
}

// route converts one rule and checks what its values mean together.
func (f *file) route(k routeKeys, at place) Route {
	r := Route{At: f.at[at.path]}
	r.ID = f.name.String() + ":" + at.path
	r.Route.At, r.Host, r.Plain = r.At.String(), k.Host.Host, k.Plain
	r.Passthrough, r.TCP = k.Passthrough, k.TCP
	for i, p := range k.Ports {
		if p > 0 && slices.Contains(r.Ports, uint16(p)) {
			f.fail(at.key("ports").item(i), "is there twice", "")
		}
		r.Ports = append(r.Ports, uint16(p))
	}
	for _, n := range k.Networks {
		r.Networks = append(r.Networks, n.Prefix)
	}
	for i, m := range k.Matches {
		r.Matches = append(r.Matches, f.match(m, at.key("matches").item(i)))
	}
	if a := k.Auth; a != nil {
		p := at.key("auth")
		if a.Scheme != "" {
			f.oneOf(a.Scheme, p.key("scheme"))
		}
		var err error
		if r.Auth, err = policy.NewAuth(a.Scheme, string(a.TokenRef)); err != nil && a.TokenRef != "" {
			f.fail(p.key("token_ref"), err.Error(), "token_ref: AWS_SECRET_ACCESS_KEY")
		}
		r.TokenAt = f.at[p.key("token_ref").path]
		if k.Plain && k.Upstream == nil {
			f.fail(p, "together with plain would send the credential unencrypted", "leave plain or auth out")
		}
	}
	if u := k.Upstream; u != nil {
		r.Upstream, r.CAFile = &policy.Upstream{URL: string(u.URL)}, u.CA
		p := at.key("upstream").key("ca")
		switch {
		case u.CA == "":
		case !path.IsAbs(u.CA) && !strings.HasPrefix(u.CA, "~/"):
			f.fail(p, "must be an absolute path, or begin with ~/", lookup(f.kind, p.shape).hint())
		case strings.HasPrefix(string(u.URL), "http://"):
			f.fail(p, "an http:// upstream has no certificate to check", "leave ca out, or write https://")
		}
	}
	if k.DLP != nil {
		r.Scanned, r.scan = true, f.scan(k.DLP, at.key("dlp"))
	}
	if r.Uninspected() {
		if d := k.DLP; d != nil && (d.Outbound != nil || d.Inbound != nil || d.OnMatch != "" || d.Injection != "" || d.Allow != nil) {
			f.fail(at.key("dlp"), "means nothing but its budget where nobody sees what passes", "leave the rest out, or passthrough and tcp")
		}
		if k.Upstream != nil {
			f.fail(at.key("upstream"), "means nothing where nobody sees what passes", "leave it out, or passthrough and tcp")
		}
	}
	if !f.broken(at) {
		f.compiles(r, at)
	}
	return r
}

// compiles lets package policy have the last word on a rule that looks sound: what it would refuse
// at launch is told here, with its place.
func (f *file) compiles(r Route, at place) {
	rule := r.Route
	rule.At = ""
	if r.Auth != nil {
		auth := *r.Auth
		auth.Placeholder = "placeholder" // comes with the plan
		rule.Auth = &auth
	}
	if _, err := policy.Compile([]policy.Route{rule}); err != nil {
		for line := range strings.Lines(err.Error()) {
			f.fail(at, strings.TrimSpace(strings.TrimPrefix(line, rule.ID+": ")), "")
		}
	}
}

func (f *file) match(k matchKeys, at place) policy.Match {
	var m policy.Match
	if k.Methods == nil && k.Paths == nil && k.Headers == nil && !f.broken(at) {
		f.fail(at, "is empty, so it would match any request", "name methods, paths or headers, or leave matches out")
	}
	for _, v := range k.Methods {
		m.Methods = append(m.Methods, string(v))
	}
	for i, p := range k.Paths {
		in := at.key("paths").item(i)
		if p.Type != "" {
			f.oneOf(p.Type, in.key("type"))
		}
		m.Paths = append(m.Paths, policy.PathMatch{Type: policy.PathKind(p.Type), Value: p.Value})
		f.pathValue(p, in.key("value"))
	}
	for i, h := range k.Headers {
		if !printable(h.Value) {
			f.fail(at.key("headers").item(i).key("value"), "holds an unprintable character", "")
		}
		m.Headers = append(m.Headers, policy.HeaderMatch{Name: string(h.Name), Value: h.Value})
	}
	return m
}

func (f *file) pathValue(p pathKeys, at place) {
	if p.Value == "" {
		return // told by the decoder
	}
	if p.Type == string(policy.PathRegex) {
		if _, err := regexp.Compile(p.Value); err != nil {
			f.fail(at, strings.TrimPrefix(err.Error(), "error parsing regexp: "), "a regular expression in Go's syntax, over the whole path")
		}
		return
	}
	switch {
	case p.Value[0] != '/':
		f.fail(at, "a path begins with /", "")
	case strings.ContainsAny(p.Value, "?#"):
		f.fail(at, "only the path is compared, without ? and #", "")
	case strings.Contains(p.Value, "*"):
		f.fail(at, "* has no meaning here", "use type: prefix, or type: regex with .*")
	}
}
