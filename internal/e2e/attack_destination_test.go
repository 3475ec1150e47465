//go:build linux

package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// explicit are the ways on which a program names where it wants to.
var explicit = map[string]audit.Via{"proxy": audit.ViaProxy, "connect": audit.ViaConnect, "socks": audit.ViaSOCKS}

// deniedByName asks for a host by every explicit way and wants the same refusal, in words, on each,
// and an audit line. In host an IPv6 address has its brackets; shown is how the log writes it.
func deniedByName(t *testing.T, b *sealed, host string, port int, shown string, reasons ...string) {
	t.Helper()
	addr := fmt.Sprintf("%s:%d", host, port)
	for way, via := range explicit {
		args := []string{"-via", way, "-k", "-target", addr, "http://stands-for.invalid/" + planted}
		if way == "proxy" {
			args = []string{"-via", way, "http://" + addr + "/" + planted}
		}
		a := b.http(t, args...)
		if way == "socks" {
			if a.Socks != 2 && a.Socks != -1 {
				t.Errorf("%s by socks: %+v", addr, a)
			}
			if a.Status != 0 {
				t.Errorf("%s by socks was answered: %+v", addr, a)
			}
		} else {
			refused(t, a, reasons...)
		}
		b.audited(t, addr+" by "+way, strings.Join(reasons, ""), func(e audit.Event) bool { return e.Via == via && strings.Contains(e.Host, shown) })
	}
}

// deniedByAddress dials an address as a program does that knows of no proxy.
func deniedByAddress(t *testing.T, b *sealed, ip string, port int) {
	t.Helper()
	addr := net.JoinHostPort(ip, fmt.Sprint(port))
	a := b.http(t, "-via", "direct", "http://"+addr+"/"+planted)
	refusedAddress(t, a, ip)
	if a.MS >= sniffing {
		t.Errorf("%s took %d ms to fail", addr, a.MS)
	}
	if narrow() {
		return
	}
	b.audited(t, addr, ip, func(e audit.Event) bool {
		return e.Via == audit.ViaTransparent && e.Addr == ip && e.Port == uint16(port)
	})
}

// narrow reports whether the bottles' network has no addresses but loopback's, so that others can't be
// dialled at all.
func narrow() bool { return ownKernel() }

const unreachable = "network is unreachable"

// refusedAddress checks what became of a request to a bare address: it was refused in words, or by the
// kernel where there is no such address.
func refusedAddress(t testing.TB, a answer, reasons ...string) {
	t.Helper()
	if !narrow() {
		refused(t, a, reasons...)
	} else if !strings.Contains(a.Error, unreachable) {
		t.Errorf("there is an address that should not be: %+v", a)
	}
}

// benign are the twins of everything about destinations: an allowed host by every way there is.
func benign(t *testing.T, b *sealed) {
	t.Helper()
	path := "ok.test/twin/" + t.Name()
	for _, args := range [][]string{
		{"-via", "proxy", "http://" + path}, {"-via", "direct", "http://" + path}, {"-via", "connect", "https://" + path}, {"-via", "socks", "https://" + path},
		{"-via", "direct", "https://" + path}, {"-via", "connect", "-h2", "https://" + path}, {"-via", "direct", "https://deep.wild.test/" + t.Name()},
	} {
		b.works(t, args...)
	}
}

func TestA01IPLiteral(t *testing.T) {
	t.Parallel()
	literals(t, attacker(t, "destination"))
}

func literals(t *testing.T, b *sealed) {
	t.Helper()
	benign(t, b)
	deniedByName(t, b, c2Addr.String(), 80, c2Addr.String(), "no rule of this bottle names the host "+c2Addr.String())
	deniedByName(t, b, c2Addr.String(), 443, c2Addr.String(), "no rule of this bottle names the host "+c2Addr.String())
	for _, port := range []int{80, 443, 8080, 9443} {
		deniedByAddress(t, b, c2Addr.String(), port)
	}
	// With TLS, as curl https://<address>/ does it, and believing whatever certificate is shown.
	refusedAddress(t, b.http(t, "-via", "direct", "-k", "https://"+c2Addr.String()+"/"+planted), c2Addr.String())
	// A listed host's name doesn't open an address.
	refusedAddress(t, b.http(t, "-via", "direct", "-dial", c2Addr.String()+":80", "http://ok.test/"), "bare address")
	refusedAddress(t, b.http(t, "-via", "direct", "-k", "-dial", c2Addr.String()+":443", "https://ok.test/"), "bare address")
}

func TestA02AddressesInDisguise(t *testing.T) {
	t.Parallel()
	b := attacker(t, "disguise")
	benign(t, b)
	for _, host := range []string{"0x7f000001", "0177.0.0.1", "2130706433", "127.1", "0", "0x7f.1", "127.0.0.1.", "00000127.0.0.1"} {
		deniedByName(t, b, host, 80, host, "is an IPv4 address in disguise")
	}
}

func TestA03IPv6(t *testing.T) {
	t.Parallel()
	b := attacker(t, "ipv6")
	benign(t, b)
	for host, why := range map[string]string{
		"[::1]": "no rule of this bottle names the host ::1", "[" + c2Addr6.String() + "]": "no rule of this bottle names the host " + c2Addr6.String(),
		"[fd12::1]":           "no rule of this bottle names the host fd12::1",
		"[2002:a9fe:a9fe::1]": "no rule of this bottle names the host", "[64:ff9b::a9fe:a9fe]": "no rule of this bottle names the host",
	} {
		deniedByName(t, b, host, 80, "", why)
	}
	// By SOCKS5 a mapped address has no spelling of its own: it is bytes.
	refused(t, b.http(t, "-via", "proxy", "http://[::ffff:169.254.169.254]/"), "write the IPv4 address 169.254.169.254 itself")
	refused(t, b.http(t, "-via", "connect", "-target", "[::ffff:169.254.169.254]:80", "http://x/"), "write the IPv4 address 169.254.169.254 itself")
	if a := b.http(t, "-via", "socks", "-target", "[::ffff:169.254.169.254]:80", "http://x/"); a.Socks != 2 {
		t.Errorf("a mapped address by socks: %+v", a)
	}
	for _, ip := range []string{c2Addr6.String(), "fd12::1", "2002:a9fe:a9fe::1", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"} {
		deniedByAddress(t, b, ip, 80)
	}
	refused(t, b.http(t, "-via", "proxy", "http://[fe80::1%25lo]/"))
	if a := b.http(t, "-via", "socks", "-target", "[fe80::1%lo]:80", "http://x/"); a.Socks != 2 {
		t.Errorf("an address with a zone by socks: %+v", a)
	}
	for name, why := range map[string]string{"ula.test": "a private address (ULA)", "nat64.test": "a cloud metadata address"} {
		refused(t, b.http(t, "-via", "proxy", "http://"+name+"/"), why)
		b.audited(t, name, why, byHost(name, "/"))
	}
}

func TestA04Metadata(t *testing.T) {
	t.Parallel()
	b := attacker(t, "metadata")
	benign(t, b)
	for host, shown := range map[string]string{"169.254.169.254": "169.254.169.254", "metadata.google.internal": "metadata.google.internal", "[fd00:ec2::254]": "fd00:ec2::254"} {
		deniedByName(t, b, host, 80, shown, "no rule of this bottle names the host "+shown)
	}
	deniedByAddress(t, b, "169.254.169.254", 80)
	deniedByAddress(t, b, "fd00:ec2::254", 80)
	// The manifest lists these, one with the network spelled out, the other by its address.
	for _, host := range []string{"meta.test", "169.254.170.2"} {
		for _, way := range []string{"proxy", "direct"} {
			refused(t, b.http(t, "-via", way, "http://"+host+"/latest/"+way), "a cloud metadata address, which no rule can open")
			b.audited(t, host, "a cloud metadata address, which no rule can open", byHost(host, "/latest/"+way))
		}
	}
}

func TestA05SpecialRanges(t *testing.T) {
	t.Parallel()
	b := attacker(t, "ranges")
	benign(t, b)
	b.works(t, "-via", "proxy", "http://declared.test/a05") // its address is in the manifest, exactly
	for host, why := range map[string]string{
		"cgnat.test": "CGNAT", "bench.test": "an address for benchmarks", "zero.test": "an address of this host", "loop.test": "a loopback address",
		"private.test": "a private address", "half.test": "a private address",
	} {
		refused(t, b.http(t, "-via", "proxy", "http://"+host+"/a05"), host+" resolved to", why)
		b.audited(t, host, why, byHost(host, "/a05"))
		refused(t, b.http(t, "-via", "connect", "https://"+host+"/a05tls"), host+" resolved to", why)
	}
	// Of the range our own DNS answers come from, addresses that were never given to a name.
	for _, ip := range []string{"100.64.0.1", "198.18.200.200", "198.19.255.254"} {
		deniedByAddress(t, b, ip, 80)
	}
	for _, ip := range []string{"100.64.0.1", "198.18.200.200", "0.0.0.0"} {
		deniedByName(t, b, ip, 80, ip, "no rule of this bottle names the host "+ip)
	}
}

func TestA06ProxyToItself(t *testing.T) {
	t.Parallel()
	b := attacker(t, "itself")
	benign(t, b)
	for host, shown := range map[string]string{"127.0.0.1": "127.0.0.1", "localhost": "localhost", "[::1]": "::1"} {
		deniedByName(t, b, host, 3128, shown, "no rule of this bottle names the host "+shown)
	}
	// Asked as if it were a web server it has nothing to say.
	for _, path := range []string{"/", "/v1/status", "/nonce", "/policy", "/debug/pprof/"} {
		refused(t, b.http(t, "-via", "direct", "http://127.0.0.1:3128"+path), "this port is a proxy")
	}
	b.audited(t, "the proxy asked as a server", "this port is a proxy", func(e audit.Event) bool { return e.Path == "/v1/status" })
	// The control host tells the rules and no value.
	a := b.http(t, "-via", "proxy", "http://control.claude-bottle.internal/policy")
	if a.Status != 200 || !strings.Contains(a.Body, "llm.test") {
		t.Errorf("the control host does not tell the rules: %+v", a)
	}
	if strings.Contains(a.Body, tokenSecret) || strings.Contains(a.Body, "placeholder-") {
		t.Errorf("the control host tells a credential: %+v", a)
	}
	for _, path := range []string{"/v1/stop", "/v1/status", "/v1/attach"} {
		if a := b.http(t, "-via", "proxy", "-X", "POST", "http://control.claude-bottle.internal"+path); a.Status == 200 {
			t.Errorf("the control host does %s: %+v", path, a)
		}
	}
}

func TestA07HostGateway(t *testing.T) {
	t.Parallel()
	b := attacker(t, "gateway")
	benign(t, b)
	b.works(t, "-via", "proxy", "http://declared.test/a07")
	for _, port := range []int{22, 2375, 5432} {
		deniedByName(t, b, "host.docker.internal", port, "host.docker.internal", "no rule of this bottle names the host host.docker.internal")
	}
	for _, ip := range []string{"172.17.0.1", "10.0.2.2", "192.168.65.2", "192.168.1.1"} {
		for _, port := range []int{80, 2375, 6443} {
			deniedByAddress(t, b, ip, port)
		}
	}
	refused(t, b.http(t, "-via", "proxy", "http://declared.test:2375/"), "allow port") // declared is the port, too
}
