//go:build linux

package probe

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// attempt is a talk and how to read what came of it. Several probes may share a talk as control.
type attempt struct {
	talk  *talk
	judge func(*scene, *talk) finding
}

// networkProbe is a probe whose attacks and controls are talks.
type networkProbe struct {
	scene    *scene
	name     string
	attacks  []attempt
	controls []attempt
}

// result judges the probe once its talks are over. Its time is that of its slowest attack.
func (p *networkProbe) result() wire.ProbeResult {
	side := func(as []attempt) finding {
		all := make([]finding, len(as))
		for i, a := range as {
			all[i] = a.judge(p.scene, a.talk)
		}
		w := worst(all)
		if w.ok && len(all) > 1 {
			w.text = fmt.Sprintf("%s, and %d more alike", w.text, len(all)-1)
		}
		return w
	}
	var took time.Duration
	for _, a := range p.attacks {
		took = max(took, a.talk.took)
	}
	return result(p.name, side(p.attacks), side(p.controls), took)
}

// Addresses that exist outside every bottle, none of which may answer inside.
var (
	public4   = netip.MustParseAddr("1.1.1.1")
	public6   = netip.MustParseAddr("2606:4700:4700::1111")
	resolver  = netip.MustParseAddr("8.8.8.8")
	metadata4 = netip.MustParseAddr("169.254.169.254")
	metadata6 = netip.MustParseAddr("fd00:ec2::254")

	privates = []string{"10.0.0.1:80", "172.16.0.1:80", "192.168.1.1:80", "100.64.0.1:80"}
	// The host as container engines and machine monitors show it to their guests.
	gateways = []string{"172.17.0.1:80", "10.0.2.2:80", "192.168.65.2:80"}
	services = []uint16{22, 443, 8443}
)

// get is a plain request for path with the given Host.
func get(path, host string) exchange {
	return exchange{
		send:   []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: claude-bottle-probe\r\nConnection: close\r\n\r\n"),
		enough: wholeHTTP,
	}
}

// direct is a plain connection and a request for the address itself.
func direct(to netip.AddrPort) *talk {
	return &talk{to: to, script: []exchange{get("/", to.String())}}
}

// networkProbes lays out every probe that goes by the network, in the order of the report.
func networkProbes(s *scene) []*networkProbe {
	w := newWays(s)
	var probes []*networkProbe
	add := func(name string, control attempt, attacks ...attempt) {
		probes = append(probes, &networkProbe{scene: s, name: name, attacks: attacks, controls: []attempt{control}})
	}
	loopback, elsewhere, bad := hostListeners(s.req)
	addresses := func(list []string) (as []attempt) {
		for _, a := range list {
			as = append(as, attempt{direct(netip.MustParseAddrPort(a)), bare})
		}
		return as
	}

	add("direct-ip4", w.direct4, attempt{direct(netip.AddrPortFrom(public4, 80)), bare})
	add("direct-ip6", w.direct6, attempt{direct(netip.AddrPortFrom(public6, 80)), noIPv6})
	var ports []attempt
	for _, p := range services {
		ports = append(ports, attempt{direct(netip.AddrPortFrom(public4, p)), closedPort})
	}
	add("direct-ports", w.direct4, ports...)
	add("private-net", w.direct4, addresses(privates)...)
	add("metadata-ip4", w.direct4, attempt{direct(netip.AddrPortFrom(metadata4, 80)), bare})
	add("metadata-ip6", w.direct6, attempt{direct(netip.AddrPortFrom(metadata6, 80)), noIPv6})

	var local []attempt
	for _, to := range loopback {
		local = append(local, attempt{direct(to), closedPort})
	}
	add("host-loopback", w.proxyHTTP, append(local, bad...)...)
	network := addresses(gateways)
	for _, to := range elsewhere {
		network = append(network, attempt{direct(to), closedPort})
	}
	add("host-network", w.direct4, network...)
	add("host-header", w.direct4, attempt{w.byControlAddr(80, get("/", s.unlisted)), refused})

	add("proxy-http", w.proxyHTTP, attempt{w.viaProxy("http://"+s.unlisted+"/", s.unlisted), refused})
	add("proxy-connect", w.proxyConnect, attempt{w.viaConnect(s.unlisted+":443", s.unlisted), refusedConnect})
	add("proxy-socks5", w.proxySOCKS, attempt{w.viaSOCKS(s.unlisted, 443, s.unlisted), refusedSOCKS})
	var inward []attempt
	for i, to := range append(loopback, elsewhere...) {
		inward = append(inward, attempt{w.viaProxy("http://"+to.String()+"/", to.String()), refused})
		if i == 0 { // one bait by every way, and under its name
			inward = append(inward,
				attempt{w.viaConnect(to.String(), to.String()), refusedConnect},
				attempt{w.viaConnect(fmt.Sprintf("localhost:%d", to.Port()), "localhost"), refusedConnect},
				attempt{w.viaSOCKS(to.Addr().String(), to.Port(), to.String()), refusedSOCKS})
		}
	}
	add("proxy-to-host", w.proxyConnect, append(inward, bad...)...)
	add("proxy-metadata", w.proxyHTTP,
		attempt{w.viaProxy("http://169.254.169.254/", "169.254.169.254"), refused},
		attempt{w.viaConnect("169.254.169.254:80", "169.254.169.254"), refusedConnect},
		attempt{w.viaProxy("http://0xa9fea9fe/", "0xa9fea9fe"), refused},
		attempt{w.viaProxy("http://metadata.google.internal/", "metadata.google.internal"), refused})

	add("dns-udp", w.lookup,
		attempt{ask(netip.AddrPortFrom(resolver, 53), s.unlisted, dnsmessage.TypeA), elsewhereUnknown},
		attempt{ask(netip.AddrPortFrom(public4, 53), s.unlisted, dnsmessage.TypeTXT), elsewhereUnknown})
	configured := configuredResolver()
	add("dns-resolver", attempt{ask(configured, s.req.ControlHost, dnsmessage.TypeA), resolves},
		attempt{ask(configured, s.unlisted, dnsmessage.TypeA), unknownName},
		attempt{ask(configured, s.unlisted, dnsmessage.TypeAAAA), unknownName})
	below := "probe." + strings.TrimPrefix(s.req.ControlHost, ".")
	add("dns-subtree", w.lookup, attempt{ask(configured, below, dnsmessage.TypeA), unknownName},
		attempt{ask(configured, below, dnsmessage.TypeTXT), unknownName})
	add("dns-tcp", w.direct4,
		attempt{direct(netip.AddrPortFrom(resolver, 53)), closedPort},
		attempt{&talk{to: netip.AddrPortFrom(resolver, 53), script: []exchange{{
			send:   overTCP(query(s.unlisted, dnsmessage.TypeA)),
			enough: func(b []byte) bool { return len(b) > 2 && len(b) >= 2+int(b[0])<<8+int(b[1]) },
		}}}, noResolver})
	add("dns-over-tls", w.direct4, attempt{direct(netip.AddrPortFrom(public4, 853)), closedPort})

	add("quic", w.lookup, attempt{datagram(public4, 443), unanswered}, attempt{datagram(public6, 443), unanswered})
	add("udp", w.lookup, attempt{datagram(public4, 123), unanswered}, attempt{datagram(resolver, 5353), unanswered})
	return probes
}

// hostListeners sorts the baits by what the bottle itself has at such an address. An address that
// can't be parsed becomes an attempt that proves nothing.
func hostListeners(req wire.ProbeRequest) (loopback, elsewhere []netip.AddrPort, bad []attempt) {
	if len(req.HostTCP) == 0 {
		bad = append(bad, broken("no bait listener was given"))
	}
	for i, list := range [][]string{req.HostTCP, req.Neighbours} {
		for _, a := range list {
			to, err := netip.ParseAddrPort(a)
			switch {
			case err != nil:
				bad = append(bad, broken(fmt.Sprintf("bait %q is no address and port", a)))
			case to.Addr().IsLoopback() && i == 0:
				loopback = append(loopback, to)
			case !to.Addr().IsLoopback():
				elsewhere = append(elsewhere, to)
			}
		}
	}
	return loopback, elsewhere, bad
}

// broken is an attempt that was over before it began.
func broken(why string) attempt {
	return attempt{&talk{started: true, over: true}, func(*scene, *talk) finding { return unclear(why) }}
}

// ask is one DNS question over UDP.
func ask(to netip.AddrPort, name string, kind dnsmessage.Type) *talk {
	return &talk{to: to, udp: true, script: []exchange{{
		send:   query(name, kind),
		enough: func([]byte) bool { return true },
	}}}
}

// datagramPatience is how long the kernel may take to say that nobody listens.
const datagramPatience = 500 * time.Millisecond

// datagram is a QUIC-like first packet for a port nobody may serve: long header, a version that
// obliges a server to answer.
func datagram(to netip.Addr, port uint16) *talk {
	first := make([]byte, 1200)
	copy(first, []byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0})
	return &talk{to: netip.AddrPortFrom(to, port), udp: true, brief: datagramPatience, script: []exchange{{
		send:   first,
		enough: func([]byte) bool { return true },
	}}}
}

// proxyAddr is the explicit proxy as the bottle sees it.
var proxyAddr = netip.MustParseAddrPort(backend.ProxyAddr)

// configuredResolver is the first nameserver of the bottle's resolv.conf, or what the C library
// takes when there is none.
func configuredResolver() netip.AddrPort {
	b, _ := readFile("/etc/resolv.conf", 1<<16) // unreadable is the same as empty: the default holds
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			return netip.AddrPortFrom(a, 53)
		}
	}
	return netip.MustParseAddrPort("127.0.0.1:53")
}
