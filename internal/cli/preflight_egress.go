package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// egress lists what may be reached: a capability with its hosts, or a rule with what may be asked,
// and the credential that goes with it.
func (p preflight) egress(st style) []string {
	if len(p.plan.Routes) == 0 {
		return []string{"nothing may leave this bottle"}
	}
	groups, usual := capabilities(p.plan.Routes), usualScan(p.plan.Routes)
	width := 0
	for _, g := range groups {
		if n := visible(g.title()); n <= 36 {
			width = max(width, n)
		}
	}
	var lines []string
	for _, g := range groups {
		what := g.lines(st, usual)
		title := g.title()
		lines = append(lines, title+strings.Repeat(" ", max(0, width-visible(title)))+"  "+what[0])
		for _, more := range what[1:] {
			lines = append(lines, strings.Repeat(" ", width+2)+more)
		}
	}
	return append(lines, st.dim("everything else is refused"))
}

// group is the rules of one capability, or one rule that was written out.
type group []policy.Route

// capabilities puts rules of the same capability that follow one another together.
func capabilities(routes []policy.Route) []group {
	var out []group
	for i, r := range routes {
		if i > 0 && r.Capability != "" && r.Capability == routes[i-1].Capability {
			out[len(out)-1] = append(out[len(out)-1], r)
			continue
		}
		out = append(out, group{r})
	}
	return out
}

func (g group) title() string {
	if c := g[0].Capability; c != "" {
		return safe(c)
	}
	return routeHost(g[0])
}

// hostsWidth is the width that a capability's hosts are laid out for.
const hostsWidth = 50

// lines tells what g lets through; usual is said elsewhere.
func (g group) lines(st style, usual []string) []string {
	if g[0].Capability == "" {
		return routeLines(st, g[0], usual)
	}
	var hosts, extras []string
	for _, r := range g {
		if h := routeHost(r); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
		for _, e := range routeExtras(r, usual) {
			if !slices.Contains(extras, e) {
				extras = append(extras, e)
			}
		}
	}
	lines := wrap(strings.Join(hosts, ", "), hostsWidth)
	for _, e := range extras {
		lines = append(lines, st.dim(e))
	}
	return lines
}

// routeLines tells what a rule lets through; usual is said elsewhere.
func routeLines(st style, r policy.Route, usual []string) []string {
	lines := matchTexts(r.Matches)
	switch {
	case r.TCP:
		lines = []string{st.yellow("any bytes, uninspected")}
	case r.Passthrough:
		lines = []string{st.yellow("any request, uninspected")}
	case len(lines) == 0:
		lines = []string{st.dim("any request")}
	}
	if policy.OverBroad(r) != "" {
		lines[0] += st.yellow("  ! over-broad") // a note says why
	}
	for _, e := range routeExtras(r, usual) {
		lines = append(lines, st.dim(e))
	}
	return lines
}

// routeHost is the host with the ports, where they are not the usual ones.
func routeHost(r policy.Route) string {
	host := safe(r.Host.String())
	if len(r.Ports) == 0 {
		if r.Plain {
			return host + ":443,80"
		}
		return host
	}
	if len(r.Ports) == 1 && r.Ports[0] == 443 && !r.Plain {
		return host
	}
	ports := make([]string, len(r.Ports))
	for i, p := range r.Ports {
		ports[i] = fmt.Sprint(p)
	}
	return host + ":" + strings.Join(ports, ",")
}

// routeExtras tells what else a route does, a line each: credential, cleartext, other upstream,
// private ranges; then how its scanning differs, but for what is usual.
func routeExtras(r policy.Route, usual []string) []string {
	var parts []string
	if r.Auth != nil {
		parts = append(parts, fmt.Sprintf("with %s (%s)", safe(r.Auth.Ref), safe(r.Auth.Scheme)))
	}
	if r.Plain {
		parts = append(parts, "cleartext allowed")
	}
	if r.Upstream != nil {
		parts = append(parts, "sent to "+safe(r.Upstream.URL))
	}
	if len(r.Networks) > 0 {
		nets := make([]string, len(r.Networks))
		for i, n := range r.Networks {
			nets[i] = n.String()
		}
		parts = append(parts, "may be at "+strings.Join(nets, ", "))
	}
	var lines []string
	if len(parts) > 0 {
		lines = []string{strings.Join(parts, "; ")}
	}
	for _, s := range scanExtras(r.Scan) {
		if !slices.Contains(usual, s) {
			lines = append(lines, s)
		}
	}
	return lines
}

// usualScan is what scanExtras says of every rule whose traffic is looked into.
func usualScan(routes []policy.Route) []string {
	var usual []string
	first := true
	for _, r := range routes {
		if r.Uninspected() {
			continue
		}
		extras := scanExtras(r.Scan)
		if first {
			usual, first = extras, false
			continue
		}
		usual = slices.DeleteFunc(usual, func(s string) bool { return !slices.Contains(extras, s) })
	}
	return usual
}

// scanExtras tells how a rule's scanning differs from the usual.
func scanExtras(s policy.Scan) []string {
	var parts []string
	if s.OnMatch != "" {
		parts = append(parts, fmt.Sprintf("secrets: %s", s.OnMatch))
	}
	if s.Injection != "" {
		parts = append(parts, fmt.Sprintf("orders to a model: %s", s.Injection))
	}
	if len(s.Off) > 0 {
		names := make([]string, len(s.Off))
		for i, d := range s.Off {
			names[i] = string(d)
		}
		parts = append(parts, "not looked for: "+strings.Join(names, ", "))
	}
	if len(s.Allow) > 0 {
		parts = append(parts, "may carry "+safe(strings.Join(s.Allow, ", ")))
	}
	if s.Budget > 0 {
		parts = append(parts, "at most "+bytesText(s.Budget)+" may leave")
	}
	return parts
}

// matchTexts writes each match as "GET,HEAD /repos/* /user": a prefix ends in "/*", a regular
// expression starts with "~".
func matchTexts(matches []policy.Match) []string {
	out := make([]string, 0, len(matches))
	for _, m := range matches {
		var words []string
		if len(m.Methods) > 0 {
			words = append(words, safe(strings.Join(m.Methods, ",")))
		}
		for _, p := range m.Paths {
			words = append(words, pathText(p))
		}
		if len(m.Paths) == 0 && len(m.Methods) > 0 {
			words = append(words, "any path")
		}
		if m.GraphQL != "" {
			words = append(words, "(GraphQL "+safe(m.GraphQL)+")")
		}
		for _, h := range m.Headers {
			words = append(words, "["+safe(h.Name)+": "+safe(h.Value)+"]")
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

func pathText(p policy.PathMatch) string {
	v := safe(p.Value)
	switch p.Type {
	case policy.PathPrefix:
		return strings.TrimSuffix(v, "/") + "/*"
	case policy.PathRegex:
		return "~" + v
	default:
		return v
	}
}
