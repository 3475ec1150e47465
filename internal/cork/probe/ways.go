//go:build linux

package probe

import (
	"fmt"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// ways are the benign twins of the network probes: the control host, asked by every way there is.
// Each is one talk, shared by all probes that need it.
type ways struct {
	narrow       bool
	lookup       attempt // UDP to a public resolver's address, or to the bottle's own where there is no other
	direct4      attempt // plain connection to the control host's address
	direct6      attempt // the same through an IPv6 socket
	proxyHTTP    attempt
	proxyConnect attempt
	proxySOCKS   attempt
}

func newWays(s *scene) *ways {
	host := s.req.ControlHost
	w := &ways{narrow: s.req.Narrow}
	asked := netip.AddrPortFrom(resolver, 53)
	if w.narrow {
		asked = configuredResolver()
	}
	w.lookup = attempt{ask(asked, host, dnsmessage.TypeA), resolves}
	w.direct4 = attempt{w.byControlAddr(80, get("/nonce", host)), saysNonce}
	mapped := w.byControlAddr(80, get("/nonce", host))
	where := mapped.where
	mapped.where = func() (netip.AddrPort, error) {
		to, err := where()
		if err != nil {
			return to, err
		}
		// A v4-mapped destination needs an IPv6 socket, and the control host needs no address of
		// its own for it.
		return netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port()), nil
	}
	w.direct6 = attempt{mapped, saysNonceOrNoIPv6(w.direct4.talk)}
	w.proxyHTTP = attempt{w.viaProxy("http://"+host+"/nonce", host), saysNonce}
	w.proxyConnect = attempt{w.viaConnectTo(host+":80", get("/nonce", host)), saysNonce}
	w.proxySOCKS = attempt{w.viaSOCKSTo(host, 80, get("/nonce", host)), saysNonce}
	return w
}

// saysNonceOrNoIPv6 accepts the IPv4 twin where the kernel has no IPv6 sockets to prove anything by.
func saysNonceOrNoIPv6(v4 *talk) func(*scene, *talk) finding {
	return func(s *scene, t *talk) finding {
		if f := noIPv6(s, t); t.err != nil && f.ok {
			return saysNonce(s, v4)
		}
		return saysNonce(s, t)
	}
}

// byControlAddr asks over a plain connection to the address the control host resolved to.
func (w *ways) byControlAddr(port uint16, x exchange) *talk {
	lookup := w.lookup.talk
	return &talk{
		script: []exchange{x},
		after:  lookup,
		where: func() (netip.AddrPort, error) {
			addr, err := controlAddr(lookup, w.narrow)
			return netip.AddrPortFrom(addr, port), err
		},
	}
}

// viaProxy asks the explicit proxy for an absolute URL.
func (w *ways) viaProxy(url, host string) *talk {
	return &talk{to: proxyAddr, label: "proxy " + url, script: []exchange{get(url, host)}}
}

// viaConnect opens a tunnel and, should it open, asks through it.
func (w *ways) viaConnect(authority, host string) *talk {
	return w.viaConnectTo(authority, get("/", host))
}

func (w *ways) viaConnectTo(authority string, inner exchange) *talk {
	return &talk{to: proxyAddr, label: "CONNECT " + authority, script: []exchange{{
		send:   []byte("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n"),
		enough: connectAnswered,
		onward: opened,
	}, inner}}
}

// connectAnswered waits for a refusal's body; an opened tunnel has none.
func connectAnswered(b []byte) bool {
	return headHTTP(b) && opened(b) || wholeHTTP(b)
}

func opened(b []byte) bool {
	r, ok := parseHTTP(b)
	return ok && r.status == 200
}

// viaSOCKS asks for a SOCKS5 connection, by address when host is one, and asks through it should
// it open.
func (w *ways) viaSOCKS(host string, port uint16, header string) *talk {
	return w.viaSOCKSTo(host, port, get("/", header))
}

func (w *ways) viaSOCKSTo(host string, port uint16, inner exchange) *talk {
	req := []byte{5, 1, 0}
	if a, err := netip.ParseAddr(host); err == nil {
		kind := byte(4)
		if a.Is4() {
			kind = 1
		}
		req = append(append(req, kind), a.AsSlice()...)
	} else {
		req = append(append(req, 3, byte(len(host))), host...)
	}
	req = append(req, byte(port>>8), byte(port))
	return &talk{to: proxyAddr, label: "socks5 " + host, script: []exchange{
		{
			send:   []byte{5, 1, 0},
			enough: func(b []byte) bool { return len(b) >= 2 },
			onward: func(b []byte) bool { return b[0] == 5 && b[1] == 0 },
		},
		{
			send:   req,
			enough: wholeSOCKS,
			onward: func(b []byte) bool { return b[0] == 5 && b[1] == 0 },
		},
		inner,
	}}
}

// wholeSOCKS reports whether b is a complete SOCKS5 reply.
func wholeSOCKS(b []byte) bool {
	if len(b) < 5 {
		return false
	}
	switch b[3] {
	case 1:
		return len(b) >= 10
	case 3:
		return len(b) >= 7+int(b[4])
	case 4:
		return len(b) >= 22
	}
	return true // no kind of address we know: judged as it is
}

// refusedSOCKS judges an attack by SOCKS5, which has one code for this.
func refusedSOCKS(s *scene, t *talk) finding {
	if len(t.replies) == 2 {
		if r := t.replies[1]; len(r) >= 2 && r[0] == 5 && r[1] == 2 {
			return stopped(fmt.Sprintf("%s: not allowed by ruleset (SOCKS5 code 2)", t))
		}
	}
	return refusedAtDoor(s, t, 2)
}

// refusedConnect judges an attack by CONNECT.
func refusedConnect(s *scene, t *talk) finding { return refusedAtDoor(s, t, 1) }

// refusedAtDoor wants the refusal before the tunnel opens, within so many exchanges: what an open
// tunnel to a wrong place then refuses is one bug away from what it lets pass.
func refusedAtDoor(s *scene, t *talk, exchanges int) finding {
	f := refused(s, t)
	if len(t.replies) > exchanges && !f.leak {
		return leaked(fmt.Sprintf("%s: the tunnel opened", t))
	}
	return f
}
