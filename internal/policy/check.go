package policy

import (
	"regexp"
	"slices"
	"strings"
)

// Problem is the kind of a Finding.
type Problem string

// The problems. Those that Wrong reports say that a rule doesn't do what stands there; the others
// are for the operator to know.
const (
	Shadowed    Problem = "shadowed"    // earlier rules of its host take all its requests
	Unreachable Problem = "unreachable" // no request can fit it
	Overruled   Problem = "overruled"   // another's rule for the host counts instead
	Broad       Problem = "over-broad"  // it allows more than its author may mean
	Hidden      Problem = "hidden"      // a narrower host decides about some of its names
	Unread      Problem = "uninspected" // nobody sees what its connections carry
)

// Wrong reports whether a rule with this problem is a mistake.
func (p Problem) Wrong() bool { return p == Shadowed || p == Unreachable || p == Overruled }

// Finding is something to look at in a set of rules.
type Finding struct {
	Problem Problem `json:"problem"`
	Rule    string  `json:"rule"`         // the rule's ID
	At      string  `json:"at,omitempty"` // file:line:col
	Why     string  `json:"why"`          // one sentence
}

// Check looks for rules that can't mean what they say, and for those an operator should know about,
// in declaration order. Routes that Compile refuses are not to be given to it.
func Check(routes []Route) []Finding {
	p, err := Compile(routes)
	if err != nil {
		return nil // said by whoever compiles them to use them
	}
	var out []Finding
	for i := range p.routes {
		r := &p.routes[i]
		add := func(what Problem, why string) {
			if why != "" {
				out = append(out, Finding{what, r.ID, r.At, why})
			}
		}
		add(Unreachable, unreachable(r))
		add(Shadowed, p.idle(i))
		add(Broad, OverBroad(*r))
		add(Hidden, p.hidden(r))
		if r.Uninspected() {
			add(Unread, "nobody sees what connections to "+r.Host.String()+" carry: nothing is scanned, no credential goes with it")
		}
	}
	return out
}

// unreachable says why an entry of r fits no request, "" when all can.
func unreachable(r *Route) string {
	for _, m := range r.Matches {
		for _, p := range m.Paths {
			if p.Type != PathRegex {
				continue
			}
			if lit := literalStart(p.Value); lit != "" && lit[0] != '/' {
				return "the regex " + quote(p.Value) + " fits no path: every path begins with '/', and the whole path is compared"
			}
		}
		for i, h := range m.Headers {
			for _, o := range m.Headers[:i] {
				if o.Name == h.Name && o.Value != h.Value {
					return "no request has two values of the header " + h.Name + " at once"
				}
			}
		}
	}
	return ""
}

// literalStart is what every match of a regex begins with.
func literalStart(expr string) string {
	re, err := regexp.Compile(expr)
	if err != nil {
		return ""
	}
	lit, _ := re.LiteralPrefix()
	return lit
}

// idle is shadowed for a rule that was written out. The rules of a capability are one: two capabilities
// may share a host, and a mistake it is when the whole of one is left nothing.
func (p *Policy) idle(i int) string {
	r := &p.routes[i]
	if r.Capability == "" {
		return p.shadowed(i)
	}
	for j := range p.routes {
		o := &p.routes[j]
		if o.At == r.At && o.Capability == r.Capability && (j < i || p.shadowed(j) == "") {
			return "" // told at the first of them, or there is nothing to tell
		}
	}
	return p.shadowed(i)
}

// shadowed says which earlier rules of the same host take every request of the rule, "" when some
// are left to it.
func (p *Policy) shadowed(i int) string {
	r := &p.routes[i]
	at := p.exact
	if r.Host.wild {
		at = p.wild
	}
	var by []*Route
	for _, j := range at[r.Host.name] {
		if j < i && p.routes[j].Uninspected() == r.Uninspected() && p.routes[j].everyPort(r) {
			by = append(by, &p.routes[j])
		}
	}
	own := r.Matches
	if len(own) == 0 {
		own = []Match{{}}
	}
	var takers []string
	for m := range own {
		k := slices.IndexFunc(by, func(o *Route) bool {
			return len(o.Matches) == 0 || slices.ContainsFunc(o.Matches, func(om Match) bool { return om.covers(&own[m]) })
		})
		if k < 0 {
			return ""
		}
		if !slices.Contains(takers, by[k].ID) {
			takers = append(takers, by[k].ID)
		}
	}
	return strings.Join(takers, " and ") + " comes first and takes every request this rule could decide"
}

// everyPort reports whether r takes every port that o takes.
func (r *Route) everyPort(o *Route) bool {
	for _, tls := range []bool{true, false} {
		for _, n := range o.ports(tls) {
			if !r.takes(n, tls) {
				return false
			}
		}
	}
	return true
}

// covers reports whether m fits every request that o fits, as far as can be seen without asking
// each: false may be wrong, true is not.
func (m *Match) covers(o *Match) bool {
	if len(m.Methods) > 0 && (len(o.Methods) == 0 || slices.ContainsFunc(o.Methods, func(s string) bool { return !slices.Contains(m.Methods, s) })) {
		return false
	}
	if m.GraphQL != "" && m.GraphQL != o.GraphQL {
		return false
	}
	for _, h := range m.Headers {
		if !slices.Contains(o.Headers, h) {
			return false
		}
	}
	if len(m.Paths) == 0 {
		return true
	}
	return len(o.Paths) > 0 && !slices.ContainsFunc(o.Paths, func(op PathMatch) bool {
		return !slices.ContainsFunc(m.Paths, func(mp PathMatch) bool { return mp.covers(&op) })
	})
}

func (m *PathMatch) covers(o *PathMatch) bool {
	switch {
	case m.Type == PathPrefix && m.Value == "/":
		return true
	case o.Type == PathRegex:
		return m.Type == PathRegex && m.Value == o.Value
	case o.Type == PathPrefix:
		return m.Type == PathPrefix && m.match(strings.TrimSuffix(o.Value, "/")+"/")
	}
	return m.match(o.Value)
}

// hidden says which names of a wildcard are decided by narrower rules alone.
func (p *Policy) hidden(r *Route) string {
	if !r.Host.wild {
		return ""
	}
	var names []string
	for i := range p.routes {
		h := p.routes[i].Host
		if h != r.Host && strings.HasSuffix("."+h.name, "."+r.Host.name) && (h.wild || h.name != r.Host.name) && !slices.Contains(names, h.String()) {
			names = append(names, h.String())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "requests to " + strings.Join(listed(names, maxListed), ", ") + " are decided by the rules for that host alone, never by this one"
}
