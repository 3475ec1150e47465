package main

import (
	"fmt"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/provider"
)

// Hosts that the loads are for.
const (
	modelHost    = "api.anthropic.com"
	registryHost = "registry.npmjs.org"
	uploadHost   = "artifacts.example.com"
)

// keyRef names the model's credential.
const keyRef = "ANTHROPIC_API_KEY"

// placeholder returns how the model's credential is written and what a bottle holds in its place.
func placeholder() (policy.Auth, error) {
	claude, err := provider.Get("claude")
	if err != nil {
		return policy.Auth{}, err
	}
	for _, c := range claude.Credentials() {
		if c.Scheme == policy.SchemeAPIKey {
			return policy.Auth{Scheme: c.Scheme, Ref: keyRef, Placeholder: claude.Placeholder(c, "Bench0123456789abcdefgh")}, nil
		}
	}
	return policy.Auth{}, fmt.Errorf("claude takes no key in a header: %w", errUnexpected)
}

// rules returns the policy of a bottle for everyday work, 30 rules: what the provider needs,
// registries to read, two repositories, and hosts of the operator's own.
func rules() ([]policy.Route, error) {
	auth, err := placeholder()
	if err != nil {
		return nil, err
	}
	claude, err := provider.Get("claude")
	if err != nil {
		return nil, err
	}
	routes := claude.Routes(&auth)
	add := func(capability string, matches []policy.Match, hosts ...string) {
		for _, name := range hosts {
			var h policy.Host
			if h, err = policy.ParseHost(name); err != nil {
				return
			}
			routes = append(routes, policy.Route{ID: fmt.Sprintf("bench:egress.routes[%d]", len(routes)), Host: h, Matches: matches, Capability: capability})
		}
	}
	read := []string{"GET", "HEAD"}
	add("registries: read", []policy.Match{{Methods: read}},
		registryHost, "pypi.org", "files.pythonhosted.org", "index.crates.io", "static.crates.io", "proxy.golang.org", "sum.golang.org",
		"deb.debian.org", "security.debian.org", "registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com", "nodejs.org")
	add("docs: read", []policy.Match{{Methods: read}}, "*.readthedocs.io", "developer.mozilla.org", "pkg.go.dev", "docs.rs", "doc.rust-lang.org")
	add("github: read acme/app, acme/lib", []policy.Match{
		{Methods: read, Paths: []policy.PathMatch{
			{Type: policy.PathPrefix, Value: "/repos/acme/app"},
			{Type: policy.PathPrefix, Value: "/repos/acme/lib"},
			{Type: policy.PathRegex, Value: `/users/[A-Za-z0-9-]+(/orgs)?`},
		}},
		{Methods: []string{"POST"}, Paths: []policy.PathMatch{{Type: policy.PathExact, Value: "/graphql"}}, GraphQL: policy.GraphQLQuery},
	}, "api.github.com")
	add("github: read acme/app, acme/lib", []policy.Match{{Methods: read, Paths: []policy.PathMatch{
		{Type: policy.PathRegex, Value: `/acme/(app|lib)(/[A-Za-z0-9._-]+)+`},
	}}}, "raw.githubusercontent.com", "codeload.github.com", "github.com")
	add("", nil, uploadHost, "staging.example.com", "ci.example.com")
	add("", []policy.Match{{Methods: []string{"GET", "POST"}, Paths: []policy.PathMatch{{Type: policy.PathPrefix, Value: "/api/v2"}}}},
		"tracker.example.com", "wiki.example.com", "errors.example.com", "*.internal.example.com")
	return routes, err
}
