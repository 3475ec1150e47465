package manifest

import (
	"fmt"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// egress makes one list of rules of all that a bottle may reach: capabilities first, then the rules
// that are written out, then raw TCP.
func (f *file) egress(k *egressKeys) []Route {
	routes := make([]Route, 0, len(k.Allow)+len(k.Routes)+len(k.TCP))
	for i := range k.Allow {
		routes = append(routes, f.capability(&k.Allow[i], place{"egress.allow", "egress.allow"}.item(i))...)
	}
	for i, r := range k.Routes {
		routes = append(routes, f.route(r, place{"egress.routes", "egress.routes"}.item(i)))
	}
	for i, h := range k.TCP {
		at := place{"egress.tcp", "egress.tcp"}.item(i)
		r := Route{At: f.posOf(at.path)}
		r.ID, r.Route.At = f.name.String()+":"+at.path, r.At.String()
		r.Host, r.Ports, r.TCP = h.host, []uint16{h.port}, true
		routes = append(routes, r)
	}
	return routes
}

// capability gives the rules of a preset their IDs and their place, which is where it is used.
func (f *file) capability(u *presetUse, at place) []Route {
	if f.broken(at) {
		return nil
	}
	routes, errs := u.expand()
	if len(errs) > 0 {
		f.errs = append(f.errs, errs...)
		return nil
	}
	base := f.name.String() + ":" + at.path
	seen := map[string]int{}
	for i := range routes {
		r := &routes[i]
		r.At = f.posOf(at.path)
		r.Route.At = r.At.String()
		r.ID = base
		if len(routes) > 1 {
			host := r.Host.String()
			r.ID += "/" + host
			if seen[host]++; seen[host] > 1 {
				r.ID += fmt.Sprintf("#%d", seen[host])
			}
		}
		switch {
		case r.Auth == nil || u.own != nil:
		case u.auth != nil:
			r.TokenAt = u.tokenAt
		default:
			r.TokenAt = r.At
		}
	}
	return routes
}

// expand returns the rules of a use, without IDs and place.
func (u *presetUse) expand() ([]Route, []*Error) {
	if u.own != nil {
		return u.own.expand(u.args)
	}
	auth := u.auth
	if auth == nil && u.built.Token != "" {
		auth = &policy.Auth{Scheme: u.built.Scheme, Ref: u.built.Token}
	}
	var out []Route
	for _, r := range u.built.Routes(u.args, auth) {
		out = append(out, Route{Route: r})
	}
	return out, nil
}
