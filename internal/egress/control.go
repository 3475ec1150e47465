package egress

import (
	"encoding/json"
	"net/http"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// controlRule is the rule named in verdicts about the control host.
const controlRule = "control"

func (e *Engine) isControl(host string) bool { return e.control != "" && host == e.control }

func (e *Engine) controlVerdict(port uint16) policy.Verdict {
	if port != 80 && port != 443 {
		return policy.Verdict{Rule: controlRule, Why: "the control host " + e.control + " answers on ports 80 and 443 only", Ask: "# nothing: use port 80 or 443\n"}
	}
	return policy.Verdict{Action: policy.Allow, Rule: controlRule, Why: "the bottle's own control host"}
}

// shownRoute is a route as the bottle may see it: what it allows, not with what.
type shownRoute struct {
	ID      string         `json:"id"`
	Host    policy.Host    `json:"host"`
	Ports   []uint16       `json:"ports,omitempty"`
	Plain   bool           `json:"plain,omitempty"`
	Matches []policy.Match `json:"matches,omitempty"`
	// Auth tells that a credential is injected, and how the bottle is to send its placeholder.
	Auth string `json:"auth,omitempty"`
}

// answerControl serves the control host.
func (x *exchange) answerControl() {
	defer x.record()
	rw := &answerWriter{ResponseWriter: x.w, x: x}
	rw.Header().Set("Cache-Control", "no-store")
	if x.method != http.MethodGet && x.method != http.MethodHead {
		http.Error(rw, "the control host answers GET", http.StatusMethodNotAllowed)
		return
	}
	switch x.path {
	case "/nonce":
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.WriteHeader(http.StatusOK)
		_, _ = rw.Write([]byte(x.e.cfg.Control.Nonce)) // a client that left does not read it
	case "/policy":
		routes := x.e.cfg.Policy.Routes()
		shown := make([]shownRoute, len(routes))
		for i := range routes {
			r := &routes[i]
			shown[i] = shownRoute{ID: r.ID, Host: r.Host, Ports: r.Ports, Plain: r.Plain, Matches: r.Matches}
			if r.Auth != nil {
				shown[i].Auth = r.Auth.Scheme
			}
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusOK)
		_ = json.NewEncoder(rw).Encode(map[string]any{"routes": shown}) // as above
	default:
		http.Error(rw, "claude-bottle: ask for /policy (what this bottle may reach) or /nonce", http.StatusNotFound)
	}
}
