package egress

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// credentials knows the placeholders a bottle holds and what stands behind them.
type credentials struct {
	placeholders []string
	values       map[*policy.Route]credential
}

// credential is what a route's requests carry: a field of the header with its text, or a signature made
// with a key of Amazon's.
type credential struct {
	header string
	value  secret.Value
	aws    *awsKey
}

func newCredentials(p *policy.Policy, secrets map[string]secret.Value) (credentials, error) {
	c := credentials{values: make(map[*policy.Route]credential)}
	routes := p.Routes()
	for i := range routes {
		r := &routes[i]
		if r.Auth == nil {
			continue
		}
		for _, ref := range []string{r.Auth.Ref, r.Auth.KeyID, r.Auth.Session} {
			if ref != "" && secrets[ref].Empty() {
				return c, fmt.Errorf("rule %s: the credential %s is not there", r.ID, ref)
			}
		}
		var made credential
		var err error
		if r.Auth.Scheme == policy.SchemeAWS {
			made.aws = newAWSKey(secrets[r.Auth.KeyID], secrets[r.Auth.Ref], secrets[r.Auth.Session])
		} else if made, err = write(r.Auth.Scheme, secrets[r.Auth.Ref]); err != nil {
			return c, fmt.Errorf("rule %s: the credential %s %w", r.ID, r.Auth.Ref, err)
		}
		c.values[r] = made
		if !slices.Contains(c.placeholders, r.Auth.Placeholder) {
			c.placeholders = append(c.placeholders, r.Auth.Placeholder)
		}
	}
	return c, nil
}

// write puts a credential into its scheme's form.
func write(scheme string, v secret.Value) (credential, error) {
	text := v.Reveal()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return credential{}, fmt.Errorf("holds characters a header can't (a line end, perhaps): store it again")
	}
	switch scheme {
	case policy.SchemeAPIKey:
		return credential{header: "X-Api-Key", value: v}, nil
	case policy.SchemeBasic:
		if strings.Contains(text, ":") {
			text = base64.StdEncoding.EncodeToString([]byte(text))
		}
	}
	return credential{header: "Authorization", value: secret.New(scheme + " " + text)}, nil
}

// identities are the headers a request says in who it is. On a route with a credential of its own
// none of the bottle's goes upstream.
var identities = [...]string{"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"}

// strayed reports a placeholder where it does not belong: anywhere but on its own routes, and in
// the URL everywhere. It is worthless there, and a sign that the bottle was talked into giving it
// away. The route is nil where none is chosen yet.
func (c *credentials) strayed(r *http.Request, route *policy.Route) (policy.Verdict, bool) {
	for _, p := range c.placeholders {
		inURL := strings.Contains(r.RequestURI, p)
		home := route != nil && route.Auth != nil && route.Auth.Placeholder == p
		if !inURL && (home || !carries(r.Header, p)) {
			continue
		}
		v := policy.Verdict{
			Why: "the request carries the placeholder of a credential where that credential does not belong",
			Ask: "# nothing: the credential is bound to its own hosts\n",
		}
		if route != nil {
			v.Rule = route.ID
		}
		return v, true
	}
	return policy.Verdict{}, false
}

// missing reports a request on a route with a credential that does not carry its placeholder: it
// comes with somebody else's key, or with none.
func (c *credentials) missing(r *http.Request, route *policy.Route) (policy.Verdict, bool) {
	switch {
	case route.Auth == nil:
		return policy.Verdict{}, false
	case strings.EqualFold(r.Method, http.MethodTrace):
		// Its answer is the request as it arrived, the credential included.
		return policy.Verdict{Rule: route.ID, Why: "TRACE is refused where a credential is injected", Ask: "# nothing: use another method\n"}, true
	case route.Auth.Scheme == policy.SchemeAWS:
		if _, err := readSignature(r.Header, route.Auth.Placeholder); err != nil {
			return policy.Verdict{Rule: route.ID, Why: "rule " + route.ID + " signs requests anew with a key the bottle does not have, and this one " + err.Error(),
				Ask: "# nothing: sign with the key this bottle was given (its environment holds it), in the Authorization field\n"}, true
		}
		return policy.Verdict{}, false
	case presents(r.Header, route.Auth.Placeholder):
		return policy.Verdict{}, false
	}
	return policy.Verdict{
		Rule: route.ID,
		Why:  "rule " + route.ID + " injects a credential, and the request does not carry this bottle's placeholder for it in Authorization or x-api-key",
		Ask:  "# nothing: send the credential this bottle was given (its environment holds it), not another one\n",
	}, true
}

// presents reports whether p is the credential h presents.
func presents(h http.Header, p string) bool {
	if slices.Contains(h["X-Api-Key"], p) {
		return true
	}
	for _, v := range h["Authorization"] {
		scheme, value, ok := strings.Cut(v, " ")
		value = strings.TrimSpace(value)
		switch {
		case !ok:
		case strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "token"):
			if value == p {
				return true
			}
		case strings.EqualFold(scheme, "Basic"):
			user, pass, _ := strings.Cut(unbase64(value), ":")
			if value == p || user == p || pass == p {
				return true
			}
		}
	}
	return false
}

// carries reports whether p is anywhere in h, readable or in Basic's base64.
func carries(h http.Header, p string) bool {
	for name, values := range h {
		for _, v := range values {
			if strings.Contains(v, p) {
				return true
			}
			if name == "Authorization" || name == "Proxy-Authorization" {
				if scheme, value, ok := strings.Cut(v, " "); ok && strings.EqualFold(scheme, "Basic") && strings.Contains(unbase64(value), p) {
					return true
				}
			}
		}
	}
	return false
}

func unbase64(s string) string {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return ""
	}
	return string(b)
}

// inject replaces every identity in h, the header about to go upstream, with the route's own. One that is
// a signature comes later, over all that is sent.
func (c *credentials) inject(h http.Header, route *policy.Route) {
	if route.Auth == nil {
		return
	}
	for _, name := range identities {
		h.Del(name)
	}
	// A WebSocket client that can't set headers may write its key among the subprotocols.
	h["Sec-Websocket-Protocol"] = withoutKeys(h["Sec-Websocket-Protocol"])
	if len(h["Sec-Websocket-Protocol"]) == 0 {
		h.Del("Sec-Websocket-Protocol")
	}
	for name, values := range h {
		if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, route.Auth.Placeholder) }) {
			h.Del(name)
		}
	}
	if made := c.values[route]; made.aws == nil {
		h[made.header] = []string{made.value.Reveal()}
	}
}

func withoutKeys(values []string) []string {
	var out []string
	for _, v := range values {
		var kept []string
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" && !strings.Contains(strings.ToLower(part), "api-key") {
				kept = append(kept, part)
			}
		}
		if len(kept) > 0 {
			out = append(out, strings.Join(kept, ", "))
		}
	}
	return out
}
