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
	// Capability is what the rule lets an agent do, in a preset's words: "github: read acme/app".
	// Empty for a rule that was written out.
	Capability string `json:"capability,omitempty"`
	// Passthrough carries TLS to the host as it is, for programs that pin its certificate. What is
	// said inside is seen by nobody: neither Matches nor Auth go with it.
	Passthrough bool `json:"passthrough,omitempty"`
	// TCP carries any bytes to the host's Ports, by name and as uninspected as Passthrough.
	TCP bool `json:"tcp,omitempty"`
	// Scan is what is looked for in the rule's traffic, and what becomes of it.
	Scan Scan `json:"scan,omitzero"`
}

// Uninspected reports whether nobody sees what the rule's connections carry.
func (r *Route) Uninspected() bool { return r.Passthrough || r.TCP }

// OnMatch is what becomes of a request that carries a secret.
type OnMatch string

// What becomes of it. The zero value is the host's default: Redact for a conversation with a model,
// which may quote a key, and Block for everything else.
const (
	Block  OnMatch = "block"
	Redact OnMatch = "redact"
)

// Mode is how much a detector may do.
type Mode string

// The modes. The zero value is Warn.
const (
	Off     Mode = "off"
	Warn    Mode = "warn"
	Enforce Mode = "block"
)

// Detector is something a scan looks for.
type Detector string

// The detectors, outbound first. A bottle's canary is looked for whatever is switched off.
const (
	KnownSecrets  Detector = "known_secrets"  // the values this bottle's warden holds, in every disguise
	TokenPatterns Detector = "token_patterns" // what credentials look like
	Entropy       Detector = "entropy"        // names and paths that look like data; warns
	Echo          Detector = "echo"           // inbound: an injected credential that comes back
	Injection     Detector = "injection"      // inbound: text that gives a model orders
	Invisible     Detector = "invisible"      // inbound: characters nobody sees, escape sequences
)

// Scan configures the scanner on one route.
type Scan struct {
	OnMatch OnMatch `json:"on_match,omitempty"`
	// Off are the detectors that don't run here.
	Off []Detector `json:"off,omitempty"`
	// Injection is what becomes of an answer that holds orders for a model.
	Injection Mode `json:"injection,omitempty"`
	// Allow names what may be sent on this route all the same: names of known secrets, IDs of
	// credential shapes.
	Allow []string `json:"allow,omitempty"`
	// Budget is how many bytes may leave on this route in the bottle's life; 0 is no bound.
	Budget int64 `json:"budget,omitempty"`
	// Model marks a conversation with a model.
	Model bool `json:"model,omitempty"`
}

// Action resolves OnMatch's default.
func (s Scan) Action() OnMatch {
	switch {
	case s.OnMatch != "":
		return s.OnMatch
	case s.Model:
		return Redact
	}
	return Block
}

// Match is one entry of a route's matches; empty fields match anything.
type Match struct {
	Methods []string      `json:"methods,omitempty"` // upper case
	Paths   []PathMatch   `json:"paths,omitempty"`   // any one of them
	Headers []HeaderMatch `json:"headers,omitempty"` // all of them
	// GraphQL narrows to bodies whose operations are all of this kind: GraphQLQuery.
	GraphQL string `json:"graphql,omitempty"`
}

// GraphQLQuery is the kind of operation that only reads.
const GraphQLQuery = "query"

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
	// "x-api-key" as the header of that name. With "aws-sigv4" it is not written at all: the request
	// is signed with it.
	Scheme string `json:"scheme"`
	// Ref names the credential among the warden's secrets; never the value.
	Ref string `json:"ref"`
	// KeyID and Session name, with aws-sigv4, the ID that belongs to the key, and the session token
	// where the key has one.
	KeyID   string `json:"key_id,omitempty"`
	Session string `json:"session,omitempty"`
	// Placeholder is the worthless value the bottle holds; a request on this route that does not
	// carry it is refused. With aws-sigv4 it is that of the key's ID.
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
