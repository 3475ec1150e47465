package manifest

import (
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// DLP is what is looked for in a bottle's traffic as a whole. What a rule's own says stands in
// Route.Scan.
type DLP struct {
	// Default is the scanning of a rule that has no dlp of its own.
	Default policy.Scan
	// Secrets are host variables whose values must not leave.
	Secrets []Secret
	// Rules is the file of the operator's credential shapes, absolute or beginning with "~/"; empty
	// for none.
	Rules   string
	RulesAt Pos
	// Canary plants a worthless credential.
	Canary bool
}

// Secret is a host variable a bottle's dlp names.
type Secret struct {
	Name string
	At   Pos
}

// dlpLayer is one bottle's dlp.
type dlpLayer struct {
	DLP
	scan scan
}

// scan is what one dlp declares; nil fields and an empty onMatch and injection are not declared.
type scan struct {
	outbound, inbound []string
	onMatch           policy.OnMatch
	injection         policy.Mode
	allow             []string
	budget            *Size
	ask               *Unbuilt // outbound_on_match wants to ask
}

// over returns s with child laid over it, field by field.
func (s scan) over(child scan) scan {
	if child.outbound != nil {
		s.outbound = child.outbound
	}
	if child.inbound != nil {
		s.inbound = child.inbound
	}
	if child.onMatch != "" || child.ask != nil {
		s.onMatch, s.ask = child.onMatch, child.ask
	}
	if child.injection != "" {
		s.injection = child.injection
	}
	if child.allow != nil {
		s.allow = child.allow
	}
	lay(&s.budget, child.budget)
	return s
}

// policy is s in the words of package policy.
func (s scan) policy() policy.Scan {
	out := policy.Scan{OnMatch: s.onMatch, Injection: s.injection, Allow: slices.Clone(s.allow)}
	off := func(all, on []string) {
		for _, name := range all {
			if on != nil && !slices.Contains(on, name) {
				out.Off = append(out.Off, policy.Detector(name))
			}
		}
	}
	off(outboundDetectors, s.outbound)
	off(inboundDetectors, s.inbound)
	if s.budget != nil {
		out.Budget = int64(*s.budget)
	}
	return out
}

// scan checks the dlp of a rule or a bottle.
func (f *file) scan(k *scanKeys, at place) scan {
	s := scan{outbound: k.Outbound, inbound: k.Inbound, budget: k.Budget}
	f.detectors(k.Outbound, at.key("outbound_detectors"))
	f.detectors(k.Inbound, at.key("inbound_detectors"))
	if k.OnMatch != "" {
		p := at.key("outbound_on_match")
		f.oneOf(k.OnMatch, p)
		if k.OnMatch == "ask" || k.OnMatch == "supervise" {
			s.ask = &Unbuilt{p.path + ": " + k.OnMatch, f.at[p.path]}
		} else {
			s.onMatch = policy.OnMatch(k.OnMatch)
		}
	}
	if k.Injection != "" {
		f.oneOf(k.Injection, at.key("injection"))
		s.injection = policy.Mode(k.Injection)
	}
	for _, name := range k.Allow {
		s.allow = append(s.allow, string(name))
	}
	return s
}

func (f *file) detectors(names []string, at place) {
	for i, name := range names {
		p := at.item(i)
		f.oneOf(name, place{p.path, at.shape})
		if slices.Contains(names[:i], name) {
			f.fail(p, "is there twice", "")
		}
	}
}

func (f *file) dlp(k *dlpKeys) *dlpLayer {
	at := place{"dlp", "dlp"}
	l := &dlpLayer{scan: f.scan(k.scan(), at)}
	l.Canary = k.Canary == nil || *k.Canary
	l.Rules, l.RulesAt = string(k.Rules), f.at[at.key("rules").path]
	for i, name := range k.Secrets {
		p := at.key("secrets").item(i)
		if slices.Contains(k.Secrets[:i], name) {
			f.fail(p, "is there twice", "")
		}
		l.Secrets = append(l.Secrets, Secret{string(name), f.at[p.path]})
	}
	return l
}

// scanned lays the bottle's dlp under those of its rules.
func (l layer) scanned() ([]Route, DLP) {
	all := dlpLayer{DLP: DLP{Canary: true}}
	if l.dlp != nil {
		all = *l.dlp
	}
	all.Default = all.scan.policy()
	if l.routes == nil {
		return nil, all.DLP
	}
	routes := slices.Clone(*l.routes)
	for i := range routes {
		r := &routes[i]
		s := all.scan.over(r.scan).policy()
		if r.Uninspected() {
			s = policy.Scan{Budget: s.Budget} // what leaves is counted, and not looked into
		}
		s.Model = r.Scan.Model
		r.Scan = s
	}
	return routes, all.DLP
}

// asks lists what would ask the operator about a finding.
func (l layer) asks() []Unbuilt {
	var out []Unbuilt
	if l.dlp != nil && l.dlp.scan.ask != nil {
		out = append(out, *l.dlp.scan.ask)
	}
	if l.routes != nil {
		for _, r := range *l.routes {
			if r.scan.ask != nil {
				out = append(out, *r.scan.ask)
			}
		}
	}
	return out
}
