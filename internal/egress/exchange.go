package egress

import (
	"net/http"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// exchange is one request and what becomes of it.
type exchange struct {
	e *Engine
	f *flow
	w http.ResponseWriter
	r *http.Request

	via    audit.Via
	method string
	host   string // canonical, or inert text where it could not be
	port   uint16
	tls    bool
	path   string
	start  time.Time

	verdict policy.Verdict
	route   *policy.Route
	addr    string // dialled upstream
	status  int
	upgrade bool    // to a WebSocket
	out     counter // request body
	in      counter // response body

	body       *inspect.Body   // nil when there is none, or nobody looks
	answerBody *inspect.Answer // nil when there is nothing to look for in it
	findings   []audit.Finding
	hideHost   bool          // a secret stands in it
	hidePath   bool          // as above
	meter      *usage.Parser // nil where no model answers
}

// ServeHTTP handles every request of every way: it is called by the HTTP side alone.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := r.Context().Value(flowKey{}).(*flow)
	if !ok || f == nil || !s.begin() {
		panic(http.ErrAbortHandler) // no flow, no decision: close
	}
	defer s.wg.Done()
	if r.Method == http.MethodConnect && f.host == "" {
		s.connect(w, r, f)
		return
	}
	x := &exchange{e: s.e, f: f, w: w, r: r, via: f.via, method: r.Method, tls: f.tls, path: r.URL.EscapedPath(), start: time.Now()}
	if s.e.requests.Add(1) > int64(s.e.cfg.Limits.Requests) {
		defer s.e.requests.Add(-1)
		x.host, x.port = f.host, f.port
		x.deny(policy.Verdict{Why: "too many requests at once from this bottle", Ask: "# nothing: wait for some of them to end\n"}, http.StatusServiceUnavailable)
		return
	}
	defer s.e.requests.Add(-1)
	if r.Method == s.e.refusal {
		x.refuse(f.fault.Load())
		return
	}
	if v := x.judge(); !v.Allowed() {
		x.deny(v, http.StatusForbidden)
		return
	}
	if x.route == nil {
		x.answerControl()
		return
	}
	if v, bad := x.inspect(); bad {
		x.deny(v, http.StatusForbidden)
		return
	}
	x.forward()
}

// judge decides. The order is the engine's whole policy: who is meant, whether it can be read in one
// way, whether a rule allows it, whether it carries the credential it must and none it must not,
// whether it turns into another protocol. On Allow, x.route carries it; a nil route is the control
// host. What it carries besides is for inspect to look into.
func (x *exchange) judge() policy.Verdict {
	if v, ok := x.aim(); !ok {
		return v
	}
	if v, bad := x.checkForm(); bad {
		return v
	}
	if x.f.denied == nil && x.e.isControl(x.host) {
		x.verdict = x.e.controlVerdict(x.port)
		return x.verdict
	}
	v, route := x.e.cfg.Policy.Request(policy.Request{
		Host: x.host, Port: x.port, TLS: x.tls, Method: x.r.Method, Path: x.path, Header: x.r.Header, GraphQL: x.graphQL,
	})
	if x.f.denied != nil && v.Allowed() {
		// The name would do, but the connection was made to something else.
		v, route = *x.f.denied, nil
	}
	if !v.Allowed() {
		return v
	}
	if stray, bad := x.e.creds.strayed(x.r, route); bad {
		return stray
	}
	if missing, bad := x.e.creds.missing(x.r, route); bad {
		return missing
	}
	if refused, bad := x.checkUpgrade(route); bad {
		return refused
	}
	x.verdict, x.route = v, route
	return v
}

// aim finds host and port. The host of a connection was decided when it was made; every request on
// it must name the same one, or it would be judged for one host and read by another.
func (x *exchange) aim() (policy.Verdict, bool) {
	r, f := x.r, x.f
	if f.host == "" {
		return x.aimProxy()
	}
	x.host, x.port = f.host, f.port
	if r.Method == http.MethodConnect {
		x.path = ""
		return policy.Verdict{Why: "CONNECT inside a connection to " + f.host + " is refused: tunnels don't nest", Ask: "# nothing: use CONNECT on the proxy port\n"}, false
	}
	scheme := "http"
	fallback := uint16(80)
	if f.tls {
		scheme, fallback = "https", 443
	}
	if r.URL.Opaque != "" || r.URL.User != nil || r.URL.Scheme != "" && r.URL.Scheme != scheme {
		return policy.Verdict{Why: "the request's target is not a path on " + f.host, Ask: "# nothing: send a plain request\n"}, false
	}
	host, port, ok := splitAuthority(r.Host, fallback)
	name := ""
	if ok {
		var err error
		if name, err = x.e.target(host); err != nil {
			name = ""
		}
	}
	explicit := !strings.HasSuffix(r.Host, "]") && strings.IndexByte(r.Host, ':') >= 0
	if f.denied != nil {
		// Whatever it names, it is denied; the name it claims makes the better explanation.
		if f.bare.IsValid() && name != "" && !isAddr(name) {
			x.host = name
		}
		return policy.Verdict{}, true
	}
	if name != f.host || explicit && port != f.port {
		x.host = x.e.safe(r.Host)
		return policy.Verdict{
			Why: "host mismatch: the connection is for " + f.host + " and the request on it names " + quote(r.Host),
			Ask: "# nothing: connect to the host the request is for\n",
		}, false
	}
	return policy.Verdict{}, true
}

// aimProxy finds the host of a request to the proxy port, which names it in its own target.
// net/http has let the target overrule the Host header, as RFC 9112 3.2.2 has it: the one string
// is judged, dialled and sent.
func (x *exchange) aimProxy() (policy.Verdict, bool) {
	u := x.r.URL
	if u.Scheme != "http" || u.Host == "" || u.Opaque != "" || u.User != nil {
		x.host = x.e.safe(x.r.Host)
		return policy.Verdict{
			Why: "this port is a proxy: it takes http:// requests in absolute form, CONNECT and SOCKS5, and serves nothing itself",
			Ask: "# nothing: use it as a proxy\n",
		}, false
	}
	host, port, ok := splitAuthority(u.Host, 80)
	if !ok {
		x.host = x.e.safe(u.Host)
		return policy.Verdict{Why: "the request's host " + quote(u.Host) + " is none", Ask: "# nothing: write host or host:port\n"}, false
	}
	x.host, x.port = x.e.safe(host), port
	if name, err := x.e.target(host); err == nil {
		x.host = name
	} else {
		return x.e.reach(host, port), false
	}
	return policy.Verdict{}, true
}

// checkUpgrade lets WebSockets through and nothing else that would leave HTTP: what comes after an
// upgrade is judged by nobody. An offer of HTTP/2 in cleartext (which some clients make with every
// request) is not taken up, as a server may, and the request is served as it stands.
func (x *exchange) checkUpgrade(route *policy.Route) (policy.Verdict, bool) {
	h := x.r.Header
	if !hasToken(h["Connection"], "upgrade") {
		return policy.Verdict{}, false
	}
	asked := strings.ToLower(strings.Join(h["Upgrade"], ","))
	switch {
	case asked == "h2c" || asked == "":
		return policy.Verdict{}, false
	case asked == "websocket" && x.r.Method == http.MethodGet && x.r.ProtoAtLeast(1, 1) && x.r.ProtoMajor == 1 && x.r.ContentLength == 0:
		x.upgrade = true
		return policy.Verdict{}, false
	}
	return policy.Verdict{Rule: route.ID, Why: "an upgrade to " + quote(asked) + " is refused: only WebSockets may leave HTTP", Ask: "# nothing: no rule allows other upgrades\n"}, true
}

// hasToken reports whether a list-valued header holds token, in any case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
