// Package preset knows what an agent may want to do at well-known services, and which requests that
// takes: "read acme/app at GitHub", "install from npm". A bottle names such a capability; what comes
// out are policy's rules, host by host, with everything that could carry data to somebody else left
// closed: publishing, gists, forks, releases, other people's repositories. The package is pure.
//
//	p, ok := preset.Find("github")
//	routes := p.Routes(preset.Args{"repos": {"acme/app"}, "access": {"read"}}, nil)
package preset

import (
	"fmt"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// Preset is one service and what can be asked of it.
type Preset struct {
	// Name is the word a manifest uses.
	Name string
	// Text says in one or two sentences what is open and what is not.
	Text string
	// Example is a line of a bottle's egress.allow.
	Example string
	Params  []Param
	// Word is the parameter that a lone word sets, as in "anthropic: inference"; empty for none.
	Word string
	// Scheme is how a credential given by auth is written into requests, as in policy.Auth; empty
	// for a preset that takes none.
	Scheme string
	// Token is the host variable with the credential when auth doesn't name one. A preset that has it
	// is never without: there, requests with anybody else's key would be a way out.
	Token string

	rules func(Args, *hosts)
}

// Param is one parameter of a preset.
type Param struct {
	Name string
	Text string
	// List accepts several values.
	List bool
	// Values are the only accepted ones; nil when they are not a closed set.
	Values []string
	// Default holds when the parameter is left out; empty when it must be given, unless Optional.
	Default  string
	Optional bool
	// Check says what is wrong with one value; nil accepts what Value does.
	Check func(string) error
}

// Args are values by parameter.
type Args map[string][]string

// one is the value of a parameter that is no list.
func (a Args) one(name string) string {
	if v := a[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// writes reports whether access is "write".
func (a Args) writes() bool { return a.one("access") == "write" }

// all lists the presets in the order they are shown.
var all = [...]Preset{anthropic, openai, github, gitlab, npm, pypi, crates, golang, debian, dockerHub}

// All lists the presets in the order they are shown.
func All() []Preset { return all[:] }

// Find returns the preset of that name.
func Find(name string) (Preset, bool) {
	if i := slices.IndexFunc(all[:], func(p Preset) bool { return p.Name == name }); i >= 0 {
		return all[i], true
	}
	return Preset{}, false
}

// Routes returns the rules of p with these values, one a host and without IDs. Args have passed the
// checks of p.Params; what is left out takes its default. Auth is the credential for the hosts that
// take one, nil for none.
func (p *Preset) Routes(args Args, auth *policy.Auth) []policy.Route {
	full := Args{}
	for _, q := range p.Params {
		switch v := args[q.Name]; {
		case len(v) > 0:
			full[q.Name] = v
		case q.Default != "":
			full[q.Name] = []string{q.Default}
		}
	}
	h := hosts{capability: p.capability(full), auth: auth, model: p.Token != ""}
	p.rules(full, &h)
	return h.routes
}

// capability is p with its values in an operator's words: "github: read acme/app".
func (p *Preset) capability(a Args) string {
	words := a.one("access")
	if words == "" {
		words = "read"
	}
	for _, q := range p.Params {
		if v := a[q.Name]; q.Name != "access" && len(v) > 0 && v[0] != q.Default {
			words += " " + Listed(a[q.Name])
		}
	}
	return p.Name + ": " + words
}

// Listed writes values for a capability, a long list cut short.
func Listed(values []string) string {
	const most = 4
	if len(values) > most {
		return strings.Join(values[:most], ", ") + fmt.Sprintf(" and %d more", len(values)-most)
	}
	return strings.Join(values, ", ")
}

// hosts collects rules, one route a host.
type hosts struct {
	capability string
	auth       *policy.Auth
	model      bool
	routes     []policy.Route
}

// open allows requests to a host that take no credential.
func (h *hosts) open(host string, matches ...policy.Match) *policy.Route {
	name, err := policy.ParseHost(host)
	if err != nil {
		panic("preset: " + err.Error()) // hosts stand in this package, or were checked by Param.Check
	}
	h.routes = append(h.routes, policy.Route{Host: name, Matches: matches, Capability: h.capability, Scan: policy.Scan{Model: h.model}})
	return &h.routes[len(h.routes)-1]
}

// credentialed allows requests to a host with the preset's credential, if it has one.
func (h *hosts) credentialed(host string, matches ...policy.Match) {
	r := h.open(host, matches...)
	if h.auth != nil {
		auth := *h.auth
		r.Auth = &auth
	}
}

// reading is GET and HEAD of paths, of any path when there are none.
func reading(of ...policy.PathMatch) policy.Match {
	return policy.Match{Methods: []string{"GET", "HEAD"}, Paths: of}
}

func getting(of ...policy.PathMatch) policy.Match {
	return policy.Match{Methods: []string{"GET"}, Paths: of}
}

func posting(of ...policy.PathMatch) policy.Match {
	return policy.Match{Methods: []string{"POST"}, Paths: of}
}

func exact(values ...string) []policy.PathMatch { return paths(policy.PathExact, values) }
func under(values ...string) []policy.PathMatch { return paths(policy.PathPrefix, values) }

func paths(kind policy.PathKind, values []string) []policy.PathMatch {
	out := make([]policy.PathMatch, len(values))
	for i, v := range values {
		out[i] = policy.PathMatch{Type: kind, Value: v}
	}
	return out
}
