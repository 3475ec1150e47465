package cli

import (
	"fmt"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// egress lists the routes, one a line: where to, what may be asked, with which credential.
func (p preflight) egress(st style) []string {
	if len(p.plan.Routes) == 0 {
		return []string{"nothing may leave this bottle"}
	}
	hosts := make([]string, len(p.plan.Routes))
	width := 0
	for i, r := range p.plan.Routes {
		hosts[i] = routeHost(r)
		if n := visible(hosts[i]); n <= 36 {
			width = max(width, n)
		}
	}
	var lines []string
	for i, r := range p.plan.Routes {
		what := st.dim("any request")
		requests := matchTexts(r.Matches)
		if len(requests) > 0 {
			what, requests = requests[0], requests[1:]
		}
		if policy.OverBroad(r) != "" {
			what += st.yellow("  ! over-broad") // a note says why
		}
		lines = append(lines, hosts[i]+strings.Repeat(" ", max(0, width-visible(hosts[i])))+"  "+what)
		indent := strings.Repeat(" ", width+2)
		for _, more := range requests {
			lines = append(lines, indent+more)
		}
		if extra := routeExtras(r); extra != "" {
			lines = append(lines, indent+st.dim(extra))
		}
	}
	return append(lines, st.dim("everything else is refused"))
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

// routeExtras tells what else a route does: credential, cleartext, other upstream, private ranges.
func routeExtras(r policy.Route) string {
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
	return strings.Join(parts, "; ")
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
