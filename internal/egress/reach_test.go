package egress_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

func TestAllowedRequestsArriveOverEveryWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for name, c := range map[string]*http.Client{
		"proxy": w.client(), "socks": w.socksClient(), "transparent": w.directClient(w.lookup("ok.test", 443)),
	} {
		res, body := get(t, c, "https://ok.test/x?q=1;2")
		if res.StatusCode != 200 || body != "GET ok.test /x?q=1;2 HTTP/2.0 0" {
			t.Errorf("%s: %d %q", name, res.StatusCode, body)
		}
		if res.ProtoMajor != 2 {
			t.Errorf("%s: the bottle's side speaks %s", name, res.Proto)
		}
	}
	plain := map[string]*http.Client{
		"proxy": w.client(), "socks": w.socksClient(), "transparent": w.directClient(w.lookup("ok.test", 80)),
	}
	for name, c := range plain {
		if res, body := get(t, c, "http://ok.test/x"); res.StatusCode != 200 || body != "GET ok.test /x HTTP/1.1 0" {
			t.Errorf("%s, plain: %d %q", name, res.StatusCode, body)
		}
	}
	for _, via := range []audit.Via{audit.ViaProxy, audit.ViaConnect, audit.ViaSOCKS, audit.ViaTransparent} {
		e := w.event("allowed via "+string(via), func(e audit.Event) bool { return e.Via == via && e.Verdict == "allow" })
		if e.Kind != audit.KindRequest || e.Rule != "ok" || e.Host != "ok.test" || e.Status != 200 || e.Addr == "" || e.BytesIn == 0 || e.Path != "/x" {
			t.Errorf("event via %s: %+v", via, e)
		}
	}
}

func TestA01A05AddressesWithoutARuleAreRefusedInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, host := range []string{"93.184.216.66", "169.254.169.254", "100.64.0.1", "198.18.0.99", "0.0.0.0", "10.0.0.1", "[::1]", "[fd00:ec2::254]"} {
		res, body := get(t, w.client(), "http://"+host+"/latest")
		refused(t, res, body, "no rule of this bottle names the host "+strings.Trim(host, "[]"), "host: ")
		if head, _ := w.connectTo(host + ":80"); !strings.HasPrefix(head, "HTTP/1.1 403 claude-bottle: no rule") {
			t.Errorf("CONNECT %s: %q", host, head)
		}
	}
	at := netip.MustParseAddrPort("93.184.216.66:443")
	for _, sni := range []string{"c2.test", ""} {
		c, err := w.any.dial(at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		tc := tls.Client(c, &tls.Config{ServerName: sni, InsecureSkipVerify: sni == "", RootCAs: pool(w.ca)})
		_, _ = io.WriteString(tc, "GET / HTTP/1.1\r\nHost: "+at.Addr().String()+"\r\n\r\n")
		answer, _ := io.ReadAll(tc)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 403") || !strings.Contains(string(answer), "no rule of this bottle names") {
			t.Errorf("SNI %q: %q", sni, answer)
		}
	}
	e := w.event("bare address", func(e audit.Event) bool { return e.Via == audit.ViaTransparent && e.Host == "93.184.216.66" })
	if e.Addr != "93.184.216.66" || e.Verdict != "deny" {
		t.Errorf("event %+v", e)
	}
	w.untouched()
}

func TestA01BareAddressOfAnAllowedHostIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	res, body := get(t, w.directClient(netip.AddrPortFrom(okAddr, 443)), "https://ok.test/")
	refused(t, res, body, "dialled as a bare address", "connect to a host by its name")
	w.untouched()
}

func TestA01AnAddressARuleNamesIsReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{route(t, "addr", okAddr.String(), plain)})
	for _, c := range []*http.Client{w.client(), w.directClient(netip.AddrPortFrom(okAddr, 80))} {
		if res, body := get(t, c, "http://"+okAddr.String()+"/"); res.StatusCode != 200 {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	}
}

func TestA02A03AddressSpellingsAreRefusedBeforeAnyLookup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, append(standard(t), route(t, "lo", "127.0.0.1")))
	for _, host := range []string{
		"0x7f000001", "0177.0.0.1", "2130706433", "127.1", "0", "127.0.0.1.", "1.2.3.4.5", "0x7f.1",
		"[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[fe80::1%25eth0]", "[::1", "[0:0:0:0:0:0:0:1]",
	} {
		head, _ := w.connectTo(host + ":443")
		if !strings.HasPrefix(head, "HTTP/1.1 403") && !strings.HasPrefix(head, "HTTP/1.1 400") {
			t.Errorf("CONNECT %s: %q", host, head)
		}
		c := w.raw(w.proxy)
		_, _ = fmt.Fprintf(c, "\x05\x01\x00\x05\x01\x00\x03%c%s\x01\xbb", len(host), host)
		reply := make([]byte, 12)
		if _, err := io.ReadFull(c, reply); err != nil || reply[3] != 2 {
			t.Errorf("SOCKS %s: %x, %v", host, reply, err)
		}
	}
	w.untouched()
}

func TestA06TheProxyServesNothingItselfAndReachesNotItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, target := range []string{w.proxy, "localhost:3128", "127.0.0.1:22", "host.docker.internal:2375", "10.0.2.2:5432"} {
		if head, _ := w.connectTo(target); !strings.HasPrefix(head, "HTTP/1.1 403 claude-bottle: no rule") {
			t.Errorf("CONNECT %s: %q", target, head)
		}
	}
	res, body := get(t, http.DefaultClient, "http://"+w.proxy+"/nonce")
	refused(t, res, body, "this port is a proxy")
	w.untouched()
}

func TestA11NamesAreComparedWholeLabelByWholeLabel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, host := range []string{"okxtest", "evil-ok.test", "ok.test.c2.test", "wild.test", "awild.test", "xn--k-wia.test"} {
		if head, _ := w.connectTo(host + ":443"); !strings.HasPrefix(head, "HTTP/1.1 403") {
			t.Errorf("%s: %q", host, head)
		}
	}
	for _, host := range []string{"ok.test", "OK.test", "ok.test.", "a.wild.test"} {
		if head, _ := w.connectTo(host + ":443"); !strings.HasPrefix(head, "HTTP/1.1 200") {
			t.Errorf("benign %s: %q", host, head)
		}
	}
	w.untouched()
}

func TestA12ControlBytesInNamesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, host := range []string{"c2.test\x00.ok.test", "ok.test\x00", "ok.test\n", "ok test", "a@ok.test", "ok.test/", "ok.test%00", "ok_.test", "ök.test", "-ok.test", ""} {
		c := w.raw(w.proxy)
		_, _ = fmt.Fprintf(c, "\x05\x01\x00\x05\x01\x00\x03%c%s\x01\xbb", len(host), host)
		reply := make([]byte, 12)
		if _, err := io.ReadFull(c, reply); err != nil || reply[3] != 2 {
			t.Errorf("SOCKS %q: %x, %v", host, reply, err)
		}
		if head, _ := w.connectTo(host + ":443"); !strings.HasPrefix(head, "HTTP/1.1 4") {
			t.Errorf("CONNECT %q: %q", host, head)
		}
	}
	w.untouched()
}

func TestA13OtherPortsOfAnAllowedHostAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, port := range []uint16{22, 8443, 9443, 8080} {
		head, _ := w.connectTo(fmt.Sprintf("ok.test:%d", port))
		if !strings.Contains(head, fmt.Sprintf("403 claude-bottle: the rules for ok.test allow port 443, not %d", port)) {
			t.Errorf("CONNECT: %q", head)
		}
		if port == 22 {
			continue // B06
		}
		res, body := get(t, w.directClient(w.lookup("ok.test", port)), fmt.Sprintf("https://ok.test:%d/", port))
		refused(t, res, body, fmt.Sprintf("not %d", port), fmt.Sprintf("ports: [%d]", port))
	}
	w.untouched()
}

func TestB06SSHIsRefusedWithALineItsClientShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, at := range []netip.AddrPort{netip.AddrPortFrom(c2Addr, 22), w.lookup("ok.test", 22)} {
		c, err := w.any.dial(at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		line, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(line), "claude-bottle: denied: ") || !strings.HasSuffix(string(line), "\r\n") {
			t.Errorf("%s: %q", at, line)
		}
	}
	w.event("ssh", func(e audit.Event) bool { return e.Kind == audit.KindConnect && e.Port == 22 && e.Verdict == "deny" })
	w.untouched()
}

func TestOtherProtocolsAreClosedAndRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t), func(c *egress.Config) { c.Limits.Sniff = 1e6 })
	for name, send := range map[string]string{"garbage": "\x00\x01\x02", "silence": ""} {
		c, err := w.any.dial(netip.AddrPortFrom(c2Addr, 6667))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, send)
		if answer, _ := io.ReadAll(c); len(answer) > 0 {
			t.Errorf("%s: %q", name, answer)
		}
	}
	e := w.event("refused", func(e audit.Event) bool { return e.Port == 6667 })
	if e.Addr != c2Addr.String() || !strings.Contains(e.Why, "bare address") {
		t.Errorf("%+v", e)
	}
}

func TestA20OneDeniedHostOneVerdictOnAllFivePaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	const port = 443
	_, _ = get(t, w.client(), "http://c2.test:443/")                                       // plain HTTP
	_, _ = w.connectTo("c2.test:443")                                                      // CONNECT
	_, _ = w.socksClient().Get("https://c2.test/")                                         //nolint:bodyclose // refused: there is none
	res, _ := get(t, w.directClient(netip.AddrPortFrom(c2Addr, port)), "https://c2.test/") // transparent, over h2
	if res.ProtoMajor != 2 {
		t.Errorf("the transparent denial came over %s", res.Proto)
	}
	h1 := w.clientWith(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return w.any.dial(netip.AddrPortFrom(c2Addr, port))
	}})
	res, _ = get(t, h1, "https://c2.test/") // transparent, over h1
	if res.ProtoMajor != 1 {
		t.Errorf("the other transparent denial came over %s", res.Proto)
	}
	want := audit.Event{Verdict: "deny", Why: "no rule of this bottle names the host c2.test", Host: "c2.test", Port: port}
	seen := map[audit.Via]int{}
	for _, via := range []audit.Via{audit.ViaProxy, audit.ViaConnect, audit.ViaSOCKS, audit.ViaTransparent} {
		w.event("via "+string(via), func(e audit.Event) bool { return e.Via == via })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		seen[e.Via]++
		got := audit.Event{Verdict: e.Verdict, Rule: e.Rule, Why: e.Why, Host: e.Host, Port: e.Port}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("via %s: %+v", e.Via, e)
		}
	}
	if len(seen) != 4 {
		t.Errorf("events via %v", seen)
	}
	if len(w.resolved)+len(w.dialled) > 0 {
		t.Errorf("the outside saw %v, %v", w.resolved, w.dialled)
	}
}
