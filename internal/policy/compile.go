package policy

import (
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Bounds on what a manifest may hold.
const (
	maxRegex = 1024
	maxPath  = 2048
	// maxCapability bounds words that stand in every verdict.
	maxCapability = 400
)

// Policy is a compiled set of routes. It is immutable and safe for concurrent use. The zero
// Policy denies everything.
type Policy struct {
	routes []Route
	// exact and wild hold, by name and by suffix, indices into routes in declaration order.
	exact map[string][]int
	wild  map[string][]int
	// allows holds, per route, the sentence of its Allow verdicts, made once.
	allows  []string
	suggest Suggest
}

// Suggest names a capability that would allow a request, as manifest text; "" when none is known. It
// must be pure, quick and safe for concurrent use: a bottle chooses how often it is asked.
type Suggest func(Request) string

// Compile checks routes and makes a Policy of them. The error joins everything that is wrong, each
// with the route's At and ID; there is no Policy then. Routes is copied. Of suggest, the first that
// knows an answer makes the Ask of a denial; without one it is a rule as narrow as what was asked.
func Compile(routes []Route, suggest ...Suggest) (*Policy, error) {
	p := &Policy{
		exact:   make(map[string][]int, len(routes)),
		wild:    make(map[string][]int),
		suggest: first(suggest),
	}
	var errs []error
	ids := make(map[string]bool, len(routes))
	for i := range routes {
		r, problems := compileRoute(routes[i])
		if r.ID != "" && ids[r.ID] {
			problems = append(problems, errors.New("another rule has the same ID"))
		}
		ids[r.ID] = true
		for _, err := range problems {
			errs = append(errs, fmt.Errorf("%s: %w", label(r, i), err))
		}
		p.routes = append(p.routes, r)
		p.allows = append(p.allows, r.allows())
		at := p.exact
		if r.Host.wild {
			at = p.wild
		}
		for _, j := range at[r.Host.name] {
			if p.routes[j].Uninspected() != r.Uninspected() && p.routes[j].shares(&r) {
				errs = append(errs, fmt.Errorf("%s: rule %s speaks of the same host and port, and what passes unread can't be looked at too: give one of them other ports",
					label(r, i), p.routes[j].ID))
			}
		}
		at[r.Host.name] = append(at[r.Host.name], i)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

// Routes returns the compiled routes in declaration order. The caller must not change them.
func (p *Policy) Routes() []Route { return p.routes }

func first(all []Suggest) Suggest {
	return func(r Request) string {
		for _, s := range all {
			if text := s(r); text != "" {
				return text
			}
		}
		return ""
	}
}

// allows is the sentence of r's Allow verdicts.
func (r *Route) allows() string {
	s := "rule " + r.ID
	if r.Capability != "" {
		s += " (" + r.Capability + ")"
	}
	s += " allows it"
	if r.Uninspected() {
		s += ", uninspected"
	}
	return s
}

// shares reports whether r and o speak of a port both.
func (r *Route) shares(o *Route) bool {
	for _, tls := range []bool{true, false} {
		if slices.ContainsFunc(r.ports(tls), func(n uint16) bool { return o.takes(n, tls) }) {
			return true
		}
	}
	return false
}

func label(r Route, i int) string {
	id := r.ID
	if id == "" {
		id = fmt.Sprintf("egress.routes[%d]", i)
	}
	if r.At != "" {
		return r.At + ": " + id
	}
	return id
}

func compileRoute(r Route) (Route, []error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.ID == "" {
		bad("a rule needs an ID")
	}
	if r.Host.IsZero() {
		bad("a rule needs a host")
	}
	if slices.Contains(r.Ports, 0) {
		bad("port 0 is no port")
	}
	for _, n := range r.Networks {
		if !n.IsValid() || n != n.Masked() {
			bad("network %s is not a prefix with its host bits zero, as in 10.1.0.0/16", n)
		}
	}
	r.Matches = slices.Clone(r.Matches)
	for i, m := range r.Matches {
		c, problems := compileMatch(m)
		for _, err := range problems {
			bad("matches[%d]: %w", i, err)
		}
		r.Matches[i] = c
	}
	if r.Auth != nil {
		errs = append(errs, checkAuth(r)...)
	}
	if r.Uninspected() && (len(r.Matches) > 0 || r.Auth != nil || r.Plain) {
		bad("passthrough and tcp see no request: matches, auth and plain mean nothing there")
	}
	if r.TCP && r.Passthrough {
		bad("tcp and passthrough are two things: passthrough is TLS, tcp any bytes")
	}
	if r.TCP && len(r.Ports) == 0 {
		bad("tcp needs ports")
	}
	if len(r.Capability) > maxCapability || inert.Text(r.Capability, 0) != r.Capability {
		bad("a capability is one line of at most %d visible bytes", maxCapability)
	}
	if r.Upstream != nil {
		if _, err := r.Upstream.Parse(); err != nil {
			errs = append(errs, err)
		}
	}
	return r, errs
}

func compileMatch(m Match) (Match, []error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	m.Methods = slices.Clone(m.Methods)
	for i, method := range m.Methods {
		if !token(method) {
			bad("method %s is no HTTP method", quote(method))
		}
		m.Methods[i] = strings.ToUpper(method)
	}
	m.Paths = slices.Clone(m.Paths)
	for i := range m.Paths {
		if err := m.Paths[i].compile(); err != nil {
			bad("paths[%d]: %w", i, err)
		}
	}
	if m.GraphQL != "" && m.GraphQL != GraphQLQuery {
		bad("graphql %s: only %q can be asked for", quote(m.GraphQL), GraphQLQuery)
	}
	m.Headers = slices.Clone(m.Headers)
	for i, h := range m.Headers {
		if !token(h.Name) {
			bad("header name %s is not one", quote(h.Name))
		}
		m.Headers[i].Name = textproto.CanonicalMIMEHeaderKey(h.Name)
	}
	return m, errs
}

func (m *PathMatch) compile() error {
	if len(m.Value) > maxPath {
		return fmt.Errorf("longer than %d characters", maxPath)
	}
	switch m.Type {
	case PathPrefix, PathExact:
		if !strings.HasPrefix(m.Value, "/") {
			return fmt.Errorf("path %s must start with '/'", quote(m.Value))
		}
		// A path no request can have would be a rule that never holds, and nobody would know why.
		if clean, ok := decodePath(strings.ReplaceAll(m.Value, "%", "%25")); !ok || clean != m.Value {
			return fmt.Errorf("path %s can match no request: write it decoded, without dot segments or doubled slashes", quote(m.Value))
		}
	case PathRegex:
		if len(m.Value) > maxRegex {
			return fmt.Errorf("regex longer than %d characters", maxRegex)
		}
		re, err := regexp.Compile(`\A(?:` + m.Value + `)\z`)
		if err != nil {
			return fmt.Errorf("regex %s: %w", quote(m.Value), err)
		}
		m.re = re
	default:
		return fmt.Errorf("unknown path type %s: use prefix, exact or regex", quote(string(m.Type)))
	}
	return nil
}

// The schemes of Auth.
const (
	SchemeBearer = "Bearer"
	SchemeToken  = "token"
	SchemeBasic  = "Basic"
	SchemeAPIKey = "x-api-key"
	SchemeAWS    = "aws-sigv4"
)

// Schemes are all of them, in the order they are told in.
func Schemes() []string {
	return []string{SchemeBearer, SchemeToken, SchemeBasic, SchemeAPIKey, SchemeAWS}
}

// NewAuth is the use of a credential, without its placeholder. What belongs to a key of Amazon's is
// found by its name, in the way of their own variables: PROD_AWS_SECRET_ACCESS_KEY has
// PROD_AWS_ACCESS_KEY_ID and, where there is one, PROD_AWS_SESSION_TOKEN beside it.
func NewAuth(scheme, ref string) (*Auth, error) {
	a := &Auth{Scheme: scheme, Ref: ref}
	if scheme == SchemeAWS {
		of, ok := strings.CutSuffix(ref, "SECRET_ACCESS_KEY")
		if !ok {
			return nil, fmt.Errorf("%s needs the name of a secret key as Amazon's programs have it, AWS_SECRET_ACCESS_KEY or one that ends so: its ID is taken from the variable beside it", scheme)
		}
		a.KeyID, a.Session = of+"ACCESS_KEY_ID", of+"SESSION_TOKEN"
	}
	return a, nil
}

// minPlaceholder keeps a placeholder from being a word that headers hold anyway.
const minPlaceholder = 8

func checkAuth(r Route) []error {
	var errs []error
	if !slices.Contains(Schemes(), r.Auth.Scheme) {
		errs = append(errs, fmt.Errorf("unknown auth scheme %s: use one of %s", quote(r.Auth.Scheme), strings.Join(Schemes(), ", ")))
	}
	if r.Auth.Ref == "" || r.Auth.Scheme == SchemeAWS && r.Auth.KeyID == "" {
		errs = append(errs, errors.New("auth names no credential"))
	}
	if len(r.Auth.Placeholder) < minPlaceholder || strings.ContainsFunc(r.Auth.Placeholder, func(c rune) bool { return c <= ' ' || c > '~' }) {
		errs = append(errs, fmt.Errorf("the auth placeholder must have at least %d visible ASCII characters", minPlaceholder))
	}
	if r.Plain && r.Upstream == nil {
		errs = append(errs, errors.New("auth and plain together would send the credential in cleartext"))
	}
	return errs
}

// Parse returns the upstream's URL: http or https, a host Canonical accepts, an optional port, and
// nothing else.
func (u *Upstream) Parse() (*url.URL, error) {
	v, err := url.Parse(u.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream %s is no URL", quote(u.URL))
	}
	if v.Scheme != "http" && v.Scheme != "https" || v.User != nil || strings.Trim(v.Path, "/") != "" || v.RawQuery != "" || v.Fragment != "" {
		return nil, fmt.Errorf("upstream %s must be scheme and authority alone, as in https://gateway.example:8443", quote(u.URL))
	}
	if _, err := Canonical(v.Hostname()); err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	v.Path = ""
	return v, nil
}

// token reports whether s is a token of HTTP's grammar.
func token(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return true
}
