package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// The ports a rule without ports speaks of.
const (
	portTLS   = 443
	portPlain = 80
)

// Request is what is asked of an upstream.
type Request struct {
	Host   string // any spelling Canonical accepts
	Port   uint16
	TLS    bool
	Method string
	// Path is the path as it stands on the wire, still escaped, without the query.
	Path string
	// Header has canonical keys, as net/http's.
	Header map[string][]string
	// GraphQL says, when a rule asks, what kind the body's operations are of: "query" when all of
	// them are, "mutation" or "subscription" when one is, "" for a body that is not GraphQL's. Nil is
	// a body nobody can look at, which matches no rule that asks.
	GraphQL func() string
}

// group returns the routes that decide about a canonical name, and their host: the exact ones when
// there are any, else those of the longest suffix. They decide alone. Were a wildcard asked after
// an exact host said no, the narrower rule would narrow nothing.
func (p *Policy) group(name string) []int {
	if g := p.exact[name]; g != nil {
		return g
	}
	if len(p.wild) == 0 {
		return nil
	}
	for rest := name; ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return nil
		}
		if g := p.wild[after]; g != nil {
			return g
		}
		rest = after
	}
}

// find canonicalises host and returns its routes, or the verdict that denies it.
func (p *Policy) find(host string) (string, []int, Verdict) {
	name, err := Canonical(host)
	if err != nil {
		return "", nil, Verdict{Why: err.Error(), Ask: impossible("this is not a host a rule could name")}
	}
	g := p.group(name)
	if g == nil {
		return name, nil, Verdict{Why: "no rule of this bottle names the host " + name, Ask: p.ask(Request{Host: name})}
	}
	return name, g, Verdict{}
}

// Resolve says whether name may be resolved: whether any rule names it.
func (p *Policy) Resolve(name string) Verdict {
	_, g, v := p.find(name)
	if g == nil {
		return v
	}
	return p.allow(g[0])
}

// Connect says whether a connection to host and port may be made, with or without TLS. What is
// then asked over it is for Request to say, each time.
func (p *Policy) Connect(host string, port uint16, tls bool) Verdict {
	name, g, v := p.find(host)
	if g == nil {
		return v
	}
	for _, i := range g {
		if p.routes[i].takes(port, tls) {
			return p.allow(i)
		}
	}
	return p.wrongPort(name, g, port, tls)
}

// Request says whether r may be sent and which route carries it: the first in declaration order,
// among those of the most specific host, that takes the port and matches. The route is nil on Deny
// and the Policy's own on Allow: not to be changed.
func (p *Policy) Request(r Request) (Verdict, *Route) {
	name, g, v := p.find(r.Host)
	if g == nil {
		if v.Ask != "" && name != "" {
			r.Host = name
			v.Ask = p.ask(r)
		}
		return v, nil
	}
	var (
		tunnel  *Route
		path    string
		clean   bool
		decoded bool
		reached bool
	)
	for _, i := range g {
		rt := &p.routes[i]
		if !rt.takes(r.Port, r.TLS) {
			continue
		}
		if rt.Uninspected() {
			tunnel = rt
			continue
		}
		reached = true
		if len(rt.Matches) == 0 {
			return p.allow(i), rt
		}
		if !decoded {
			path, clean = decodePath(r.Path)
			decoded = true
		}
		for m := range rt.Matches {
			if rt.Matches[m].match(r, path, clean) {
				return p.allow(i), rt
			}
		}
	}
	if !reached && tunnel != nil {
		return Verdict{Rule: tunnel.ID, Why: fmt.Sprintf("rule %s carries connections to %s unread, not requests of the proxy's", tunnel.ID, name),
			Ask: impossible("connect to it, directly or by CONNECT or SOCKS")}, nil
	}
	if !reached {
		return p.wrongPort(name, g, r.Port, r.TLS), nil
	}
	return p.noMatch(name, g, r, clean), nil
}

func (p *Policy) allow(i int) Verdict {
	return Verdict{Action: Allow, Rule: p.routes[i].ID, Why: p.allows[i]}
}

// Tunnel returns the rule that carries connections to host and port unread, nil when there is none
// or they are denied. It is the Policy's own: not to be changed.
func (p *Policy) Tunnel(host string, port uint16) *Route {
	_, g, _ := p.find(host)
	for _, i := range g {
		if r := &p.routes[i]; r.Uninspected() && r.takes(port, true) {
			return r
		}
	}
	return nil
}

// takes reports whether r speaks of the port.
func (r *Route) takes(port uint16, tls bool) bool {
	if r.TCP {
		return slices.Contains(r.Ports, port)
	}
	if !tls && !r.Plain {
		return false
	}
	if len(r.Ports) > 0 {
		return slices.Contains(r.Ports, port)
	}
	return tls && port == portTLS || !tls && port == portPlain
}

func (m *Match) match(r Request, path string, clean bool) bool {
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, r.Method) {
		return false
	}
	if len(m.Paths) > 0 {
		if !clean || !slices.ContainsFunc(m.Paths, func(pm PathMatch) bool { return pm.match(path) }) {
			return false
		}
	}
	for _, h := range m.Headers {
		// Two values are two readings: upstream may take the other one.
		if v := r.Header[h.Name]; len(v) != 1 || v[0] != h.Value {
			return false
		}
	}
	return m.GraphQL == "" || r.GraphQL != nil && r.GraphQL() == m.GraphQL
}

func (p *Policy) wrongPort(name string, g []int, port uint16, tls bool) Verdict {
	var ports []string
	plain := false
	for _, i := range g {
		r := &p.routes[i]
		plain = plain || r.Plain
		for _, n := range r.ports(tls) {
			if s := strconv.Itoa(int(n)); !slices.Contains(ports, s) {
				ports = append(ports, s)
			}
		}
	}
	v := Verdict{Rule: p.routes[g[0]].ID, Ask: p.ask(Request{Host: name, Port: port, TLS: tls})}
	switch {
	case !tls && !plain:
		v.Why = fmt.Sprintf("the rules for %s allow TLS only, not cleartext on port %d", name, port)
	default:
		v.Why = fmt.Sprintf("the rules for %s allow port %s, not %d", name, strings.Join(ports, ", "), port)
	}
	return v
}

func (r *Route) ports(tls bool) []uint16 {
	switch {
	case r.TCP:
		return r.Ports
	case !tls && !r.Plain:
		return nil
	case len(r.Ports) > 0:
		return r.Ports
	case tls:
		return []uint16{portTLS}
	}
	return []uint16{portPlain}
}

// maxListed bounds how many alternatives a denial names.
const maxListed = 6

func (p *Policy) noMatch(name string, g []int, r Request, clean bool) Verdict {
	var would []string
	rule := ""
	for _, i := range g {
		rt := &p.routes[i]
		if rt.Uninspected() || !rt.takes(r.Port, r.TLS) {
			continue
		}
		if rule == "" {
			rule = rt.ID
		}
		texts := make([]string, len(rt.Matches))
		for j, m := range rt.Matches {
			texts[j] = m.String()
		}
		if rt.Capability != "" {
			texts = []string{rt.Capability + " (" + strings.Join(listed(texts, maxListed/2), ", ") + ")"}
		}
		would = append(would, texts...)
	}
	asked := inert.Text(r.Method, 32) + " " + inert.Text(r.Path, 160)
	why := fmt.Sprintf("the rules for %s allow %s; %s matches none of them", name, strings.Join(listed(would, maxListed), ", "), asked)
	if !clean {
		why += " (a path with dot segments, encoded slashes, doubled slashes or control bytes never matches)"
		return Verdict{Rule: rule, Why: why, Ask: impossible("write the path plainly first: no rule matches this spelling")}
	}
	r.Host = name
	return Verdict{Rule: rule, Why: why, Ask: p.ask(r)}
}

// listed bounds what a denial names to most entries and a count of the others.
func listed(all []string, most int) []string {
	if len(all) <= most {
		return all
	}
	return append(all[:most:most], fmt.Sprintf("and %d more", len(all)-most))
}

// String writes m as a denial names it: "GET|POST /api/*".
func (m Match) String() string {
	methods := strings.Join(m.Methods, "|")
	if methods == "" {
		methods = "any method"
	}
	paths := make([]string, len(m.Paths))
	for i, p := range m.Paths {
		paths[i] = p.String()
	}
	s := methods
	if len(paths) > 0 {
		s += " " + strings.Join(listed(paths, maxListed), "|")
	}
	for _, h := range m.Headers {
		s += " with " + h.Name
	}
	if m.GraphQL != "" {
		s += " with a GraphQL " + m.GraphQL
	}
	return s
}
