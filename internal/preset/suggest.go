package preset

import (
	"strconv"
	"strings"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// Suggest names the capability that would allow r, as manifest text; "" when no preset does. It is a
// policy.Suggest.
func Suggest(r policy.Request) string {
	host, err := policy.Canonical(r.Host)
	if err != nil {
		return ""
	}
	for _, c := range simple()[host] {
		if allows(c.policy, r) {
			return text(c.line)
		}
	}
	repo := githubRepo(host, r.Path)
	if repo == "" || r.Method == "" {
		return ""
	}
	for _, access := range readOrWrite.Values {
		p, err := policy.Compile(numbered(github.Routes(Args{"repos": {repo}, "access": {access}}, nil)))
		if err == nil && allows(p, r) {
			return text("github: {repos: [" + plain(repo) + "], access: " + access + "}")
		}
	}
	return ""
}

func text(line string) string { return "egress:\n  allow:\n    - " + line + "\n" }

// candidate is a preset that needs no values, ready to be asked.
type candidate struct {
	line   string
	policy *policy.Policy
}

// simple lists, by host, the presets that need no values.
var simple = sync.OnceValue(func() map[string][]candidate {
	out := map[string][]candidate{}
	for i := range all {
		p := &all[i]
		if p.required() {
			continue
		}
		routes := numbered(p.Routes(nil, nil))
		compiled, err := policy.Compile(routes)
		if err != nil {
			panic("preset: " + err.Error()) // a preset of this package, held by its tests
		}
		line := p.Name
		if p.Word != "" {
			line = p.Example
		}
		for _, r := range routes {
			host := r.Host.String()
			out[host] = append(out[host], candidate{line, compiled})
		}
	}
	return out
})

// required reports whether p means nothing without values.
func (p *Preset) required() bool {
	for _, q := range p.Params {
		if q.Default == "" && !q.Optional {
			return true
		}
	}
	return false
}

// numbered gives rules that stand in no manifest an ID.
func numbered(routes []policy.Route) []policy.Route {
	for i := range routes {
		routes[i].ID = strconv.Itoa(i)
	}
	return routes
}

// allows asks p as far as r goes: it may be a name alone, or a connection.
func allows(p *policy.Policy, r policy.Request) bool {
	switch {
	case r.Port == 0:
		return p.Resolve(r.Host).Allowed()
	case r.Method == "":
		return p.Connect(r.Host, r.Port, r.TLS).Allowed()
	}
	v, _ := p.Request(r)
	return v.Allowed()
}

// githubRepo finds the repository a request to one of GitHub's hosts is about; "" when it is none.
func githubRepo(host, path string) string {
	switch host {
	case "api.github.com", "uploads.github.com":
		rest, ok := strings.CutPrefix(path, "/repos/")
		if !ok {
			return ""
		}
		path = rest
	case "github.com", "raw.githubusercontent.com", "codeload.github.com":
		path = strings.TrimPrefix(path, "/")
	default:
		return ""
	}
	owner, rest, _ := strings.Cut(path, "/")
	name, _, _ := strings.Cut(rest, "/")
	if repo := owner + "/" + strings.TrimSuffix(name, ".git"); ownerAndName(repo) == nil {
		return repo
	}
	return ""
}

// plain writes a value that Value accepts for YAML.
func plain(s string) string {
	if letter(s[0]) {
		return s
	}
	return strconv.Quote(s)
}
