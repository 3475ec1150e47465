package plan

import (
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// routes adds the manifest's rules to the provider's. For a host the provider has a rule of its
// own for, that rule wins, and the manifest's may only say how to get there and what to look for:
// upstream, networks, ports and dlp. So a gateway is one rule, and no manifest widens what the
// program's credential is used for.
func (b *builder) routes() {
	own := len(b.plan.Routes)
	for i := range b.plan.Routes {
		b.plan.Routes[i].Scan = scanned(b.effective.DLP.Default, b.plan.Routes[i].Scan)
	}
	for _, m := range b.effective.Routes {
		r := m.Route
		r.Upstream = b.upstream(m)
		if b.redirect(b.plan.Routes[:own], r, m.Scanned) {
			continue
		}
		if r.Auth != nil {
			r.Auth = b.routeAuth(m)
		}
		b.plan.Routes = append(b.plan.Routes, r)
		if why := policy.OverBroad(r); why != "" {
			b.note(Warn, "", "%s: over-broad rule: %s", r.At, why)
		}
	}
}

// scanned is what a manifest says about a rule of the provider's: what it is doesn't change.
func scanned(said, own policy.Scan) policy.Scan {
	said.Model = own.Model
	return said
}

// redirect lays the way to r's host over the provider's rules for it, and reports whether there
// are any.
func (b *builder) redirect(own []policy.Route, r policy.Route, dlp bool) bool {
	found, same := false, false
	for i := range own {
		o := &own[i]
		if o.Host != r.Host {
			continue
		}
		found = true
		same = same || r.Capability != "" && r.Capability == o.Capability
		if r.Upstream != nil {
			o.Upstream = r.Upstream
		}
		if r.Networks != nil {
			o.Networks = r.Networks
		}
		if r.Ports != nil {
			o.Ports = r.Ports
		}
		if dlp {
			o.Scan = scanned(r.Scan, o.Scan)
		}
	}
	if !found {
		return false
	}
	if same {
		b.note(Info, "", "%s: the %s provider brings %q itself, with its own credential", r.At, b.template.Name(), r.Capability)
		return true
	}
	var moot []string
	for key, has := range map[string]bool{
		"matches": r.Matches != nil, "auth": r.Auth != nil, "plain": r.Plain, "passthrough": r.Passthrough, "tcp": r.TCP,
	} {
		if has {
			moot = append(moot, key)
		}
	}
	if slices.Sort(moot); len(moot) > 0 {
		why := fmt.Sprintf("the %s provider's own rule for %s wins: %s of this one not used; upstream, networks, ports and dlp are",
			b.template.Name(), r.Host, strings.Join(moot, " and "))
		b.note(Warn, "", "%s: %s", r.At, why)
		b.moot = append(b.moot, policy.Finding{Problem: policy.Overruled, Rule: r.ID, At: r.At, Why: why})
	}
	return true
}

// upstream resolves a rule's upstream with the text of its authority.
func (b *builder) upstream(m manifest.Route) *policy.Upstream {
	if m.Upstream == nil {
		return nil
	}
	u := *m.Upstream
	if m.CAFile == "" {
		return &u
	}
	const field = "upstream.ca"
	path := b.hostPath(m.CAFile)
	if b.host.ReadFile == nil || !filepath.IsAbs(path) {
		b.fail(m.At, field, "", "%s can't be read here", path)
		return &u
	}
	text, err := b.host.ReadFile(path)
	if err != nil {
		b.fail(m.At, field, "name the PEM file of the gateway's authority", "%s", err)
		return &u
	}
	if !onlyCertificates(text) {
		b.fail(m.At, field, "name the PEM file of the gateway's authority, without keys", "%s is not a file of PEM certificates", path)
		return &u
	}
	u.CA = string(text)
	return &u
}

// onlyCertificates reports whether text is PEM certificates and nothing else: a private key in the
// same file must not get into a plan.
func onlyCertificates(text []byte) bool {
	const most = 1 << 20
	if len(text) > most {
		return false
	}
	n := 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return n > 0 && !strings.Contains(string(rest), "PRIVATE KEY")
		}
		if block.Type != "CERTIFICATE" {
			return false
		}
		text = rest
		n++
	}
}
