// Package policy decides. It holds the rules of a bottle's egress as parsed values and answers,
// for a name, a connection or a request, with a Verdict that says which rule decided and why. It
// is pure: no IO, no clock, safe for concurrent use once compiled.
//
// Everything not named by a rule is denied, and the zero Verdict denies.
package policy

import (
	"net/netip"
	"regexp"
)

// Action is what a Verdict tells the asker to do. The zero Action is Deny.
type Action uint8

// The actions.
const (
	Deny Action = iota
	Allow
)

// String returns "allow" or "deny", the words of denials and audit lines.
func (a Action) String() string {
	if a == Allow {
		return "allow"
	}
	return "deny"
}

// Verdict is the answer to one question. The same value feeds the denial the agent reads, the
// audit line and the operator's screen.
type Verdict struct {
	Action Action `json:"action"`
	// Rule is the ID of the route that decided; empty when no route names the host.
	Rule string `json:"rule,omitempty"`
	// Why is one sentence in plain words: what was asked and what decided.
	Why string `json:"why"`
	// Ask is what the agent can tell its operator to add, as manifest text; empty on Allow.
	Ask string `json:"ask,omitempty"`
}

// Allowed reports whether the verdict lets the asker go on.
func (v Verdict) Allowed() bool { return v.Action == Allow }

// Route is one rule of a bottle: a host, and what may be asked of it.
type Route struct {
	// ID names the rule in verdicts: "<bottle>:egress.routes[2]" or "provider:claude".
	ID string `json:"id"`
	// At is where the rule stands in its manifest, "file:line:col"; empty for a provider's rules.
	At   string `json:"at,omitempty"`
	Host Host   `json:"host"`
	// Ports that may be connected to; empty means 443 alone (and 80 when Plain).
	Ports []uint16 `json:"ports,omitempty"`
	// Plain allows cleartext HTTP (default port 80) besides TLS.
	Plain bool `json:"plain,omitempty"`
	// Matches narrow the rule by method, path and headers: OR between entries, AND inside one.
	// Empty means any request.
	Matches []Match `json:"matches,omitempty"`
	// Auth, when set, injects a credential and makes the bottle's placeholder obligatory.
	Auth *Auth `json:"auth,omitempty"`
	// Upstream, when set, is dialled instead of the host: a gateway, or a test's stand-in.
	Upstream *Upstream `json:"upstream,omitempty"`
	// Networks are private ranges this route may be dialled into; without them only public
	// addresses are. Cloud metadata addresses are refused even when listed.
	Networks []netip.Prefix `json:"networks,omitempty"`
}

// Match is one entry of a route's matches; empty fields match anything.
type Match struct {
	Methods []string      `json:"methods,omitempty"` // upper case
	Paths   []PathMatch   `json:"paths,omitempty"`   // any one of them
	Headers []HeaderMatch `json:"headers,omitempty"` // all of them
}

// PathKind says how a PathMatch compares, after Gateway API's HTTPPathMatch.
type PathKind string

// The path kinds. Prefix compares by path elements: "/a" matches "/a" and "/a/b", never "/ab".
const (
	PathPrefix PathKind = "prefix"
	PathExact  PathKind = "exact"
	PathRegex  PathKind = "regex" // anchored at both ends
)

// PathMatch compares a request's path, cleaned of dot segments and percent-decoded once; a path
// that would change meaning by that (an encoded slash, a dot segment, a NUL) matches nothing.
type PathMatch struct {
	Type  PathKind       `json:"type"`
	Value string         `json:"value"`
	re    *regexp.Regexp // set by Compile for PathRegex
}

// HeaderMatch compares one request header, exactly.
type HeaderMatch struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Auth says which credential a route injects and what the bottle holds in its place.
type Auth struct {
	// Scheme is how the credential is written: "Bearer", "token" and "Basic" into Authorization,
	// "x-api-key" as the header of that name.
	Scheme string `json:"scheme"`
	// Ref names the credential among the warden's secrets; never the value.
	Ref string `json:"ref"`
	// Placeholder is the worthless value the bottle holds; a request on this route that does not
	// carry it is refused.
	Placeholder string `json:"placeholder"`
}

// Upstream redirects a route's connections.
type Upstream struct {
	// URL is scheme and authority only: "https://gateway.corp:8443", "http://127.0.0.1:4010".
	URL string `json:"url"`
	// CA is PEM text that the upstream's certificate is verified against instead of the host's
	// roots; empty means the host's.
	CA string `json:"ca,omitempty"`
}
