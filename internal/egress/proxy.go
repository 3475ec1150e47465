package egress

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// proxyConn serves a connection to the proxy port: SOCKS by its version byte, else HTTP.
func (s *server) proxyConn(k *socket) {
	f := &flow{socket: k, s: s, via: audit.ViaProxy, start: time.Now()}
	first, err := f.peek(s.e.cfg.Limits.First)
	switch {
	case err != nil:
		_ = k.Close() // opened and left: nothing was asked, nothing to record
	case first == socksVersion:
		f.via = audit.ViaSOCKS
		s.socks(f)
	case first >= 'A' && first <= 'Z' || first >= 'a' && first <= 'z':
		s.hand(s.strict(f))
	default:
		s.e.recordFlow(f, policy.Verdict{Why: "the proxy port speaks HTTP and SOCKS5 only", Ask: "# nothing: use HTTP, CONNECT or SOCKS5h\n"})
		_ = k.Close() // no common protocol to answer in
	}
}

// reach judges a connection, before anything is known of what it carries: it may be made when the
// policy takes the port with TLS or without. Which it is, the requests on it are judged by.
func (e *Engine) reach(host string, port uint16) policy.Verdict {
	if e.isControl(host) {
		return e.controlVerdict(port)
	}
	v := e.cfg.Policy.Connect(host, port, true)
	if !v.Allowed() {
		if plain := e.cfg.Policy.Connect(host, port, false); plain.Allowed() {
			return plain
		}
	}
	return v
}

// uninspected returns the rule that carries an allowed connection as it is; nil where it is read.
func (e *Engine) uninspected(host string, port uint16) *policy.Route {
	if e.isControl(host) {
		return nil
	}
	return e.cfg.Policy.Tunnel(host, port)
}

// target finds the name a proxy client means: addresses handed out by our DNS stand for the name
// they were handed out for, everything else for itself.
func (e *Engine) target(host string) (string, error) {
	name, err := policy.Canonical(host)
	if err != nil {
		return "", err
	}
	if a, err := netip.ParseAddr(name); err == nil {
		if owner, ok := e.names.owner(a); ok {
			return owner, nil
		}
	}
	return name, nil
}

// connect answers CONNECT on the proxy port. A denial is told here: the tunnel never opens.
func (s *server) connect(w http.ResponseWriter, r *http.Request, f *flow) {
	x := &exchange{e: s.e, f: f, via: audit.ViaConnect, method: http.MethodConnect, start: time.Now(), w: w, r: r}
	host, port, ok := splitAuthority(r.RequestURI, 0)
	if !ok {
		x.host = s.e.safe(r.RequestURI)
		x.deny(policy.Verdict{Why: "CONNECT takes host:port, not " + quote(r.RequestURI), Ask: "# nothing: write CONNECT host:port\n"}, http.StatusForbidden)
		return
	}
	x.port = port
	name, err := s.e.target(host)
	if err != nil {
		x.host = s.e.safe(host)
		x.deny(s.e.reach(host, port), http.StatusForbidden)
		return
	}
	x.host = name
	if v := s.e.reach(name, port); !v.Allowed() {
		x.deny(v, http.StatusForbidden)
		return
	}
	if v, bad := s.e.creds.strayed(r, nil); bad {
		x.deny(v, http.StatusForbidden)
		return
	}
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		x.fail(err)
		return
	}
	below, front := takeOver(c, buffered)
	k, ok := below.(*flow)
	if !ok {
		_ = c.Close() // can't be: the proxy port's own flow is never below TLS
		return
	}
	_ = c.SetDeadline(time.Time{}) // a dead socket fails the write below
	if _, err := c.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = c.Close()
		return
	}
	tunnel := &flow{socket: k.socket, s: s, front: append(front, k.front...), via: audit.ViaConnect, host: name, port: port, start: x.start, opaque: s.e.uninspected(name, port)}
	// Waiting for the first byte is done outside the handler, which counts as a request at work.
	s.wg.Go(func() { s.carry(tunnel) })
}

// splitAuthority parses host[:port] strictly; without a port, fallback is it, unless 0.
func splitAuthority(s string, fallback uint16) (host string, port uint16, ok bool) {
	if s == "" || len(s) > 512 || strings.ContainsAny(s, "@/?# \t\r\n\x00%\\") {
		return "", 0, false
	}
	if s[len(s)-1] == ']' || strings.IndexByte(s, ':') < 0 {
		return s, fallback, fallback != 0
	}
	host, digits, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || digits[0] < '0' || digits[0] > '9' {
		return "", 0, false
	}
	return host, uint16(n), true
}

func isAddr(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
