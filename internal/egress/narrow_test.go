package egress_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// newNarrowWorld is a world whose bottle has no addresses but loopback's.
func newNarrowWorld(t testing.TB) *world {
	t.Helper()
	return newWorldAround(t, true, standard(t))
}

var narrowRange = netip.MustParsePrefix("127.18.0.0/15")

func TestNamesInANarrowBottleHaveLoopbackAddresses(t *testing.T) {
	t.Parallel()
	w := newNarrowWorld(t)
	ok := w.lookup("ok.test", 443)
	seen := map[netip.AddrPort]string{}
	for _, name := range []string{"ok.test", "llm.test", "a.wild.test", "b.wild.test", controlHost} {
		at := w.lookup(name, 443)
		if !narrowRange.Contains(at.Addr()) {
			t.Errorf("%s is at %s", name, at)
		}
		if other := seen[at]; other != "" {
			t.Errorf("%s and %s share %s", name, other, at)
		}
		seen[at] = name
	}
	if again := w.lookup("OK.test", 443); again != ok {
		t.Errorf("ok.test moved from %s to %s", ok, again)
	}
	for _, name := range []string{"c2.test.", "localhost.", "127.18.0.1.", "wild.test."} {
		if m := w.ask(name, dnsmessage.TypeA); m.RCode != dnsmessage.RCodeNameError || len(m.Answers) > 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if m := w.ask("ok.test.", dnsmessage.TypeAAAA); m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) > 0 {
		t.Errorf("ok.test has %+v", m)
	}
	w.untouched()
}

func TestConnectionsInANarrowBottleAreJudgedByTheirName(t *testing.T) {
	t.Parallel()
	w := newNarrowWorld(t)
	for _, c := range []struct {
		name   string
		port   uint16
		url    string
		status int
		words  string // of a denial
	}{
		{"ok.test", 443, "https://ok.test/x", 200, ""},
		{"ok.test", 80, "http://ok.test/x", 200, ""},
		{"a.wild.test", 443, "https://a.wild.test/x", 200, ""},
		{"ok.test", 8443, "https://ok.test:8443/x", 403, "not 8443"},
		{controlHost, 80, "http://" + controlHost + "/nonce", 200, ""},
	} {
		res, body := get(t, w.directClient(w.lookup(c.name, c.port)), c.url)
		if c.words != "" {
			refused(t, res, body, c.words)
		} else if res.StatusCode != c.status {
			t.Errorf("%s at %s: %d %q", c.url, c.name, res.StatusCode, body)
		}
	}
	e := w.event("allowed", func(e audit.Event) bool {
		return e.Via == audit.ViaTransparent && e.Verdict == "allow" && e.Host == "ok.test" && e.Port == 443
	})
	if e.Rule != "ok" || e.Path != "/x" || e.Status != 200 {
		t.Errorf("%+v", e)
	}
	if _, err := w.directClient(w.lookup("ok.test", 443)).Get("https://c2.test/x"); err == nil { //nolint:bodyclose // there is none
		t.Error("one name was dialled and another one answered")
	}
	w.event("the other name", func(e audit.Event) bool { return e.Host == "ok.test" && strings.Contains(e.Why, "sni mismatch") })
	if w.c2.requests() > 0 {
		t.Error("a host no rule names was asked")
	}
}

func TestOtherAddressesInANarrowBottleAreBare(t *testing.T) {
	t.Parallel()
	w := newNarrowWorld(t)
	given := w.lookup("ok.test", 443).Addr()
	for _, addr := range []netip.Addr{
		netip.MustParseAddr("127.18.77.1"),                     // a name's address that no name has
		netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback(), // the bottle's own
		netip.AddrFrom4([4]byte{198, 18, given.As4()[2], given.As4()[3]}), // ok.test's, were the bottle not narrow
		okAddr, netip.MustParseAddr("169.254.169.254"),
	} {
		at := netip.AddrPortFrom(addr, 443)
		res, body := get(t, w.directClient(at), "https://ok.test/")
		if res.StatusCode != http.StatusForbidden || !strings.Contains(body, "bare address") {
			t.Errorf("%s: %d %q", at, res.StatusCode, body)
		}
	}
	w.untouched()
}

// Where names have the addresses of a narrow bottle, in one that isn't they have none.
func TestLoopbackAddressesAreNobodysInAnyOtherBottle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	given := w.lookup("ok.test", 443).Addr().As4()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 18, given[2], given[3]}), 443)
	res, body := get(t, w.directClient(at), "https://ok.test/")
	refused(t, res, body, "bare address")
	w.untouched()
}

func TestANarrowBottlesProxyIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	w := newNarrowWorld(t)
	for name, c := range map[string]*http.Client{"proxy": w.client(), "socks": w.socksClient()} {
		if res, body := get(t, c, "https://ok.test/x"); res.StatusCode != 200 {
			t.Errorf("%s: %d %q", name, res.StatusCode, body)
		}
	}
	given := w.lookup("ok.test", 443).Addr().As4()
	if head, _ := w.connectTo(netip.AddrFrom4(given).String() + ":443"); !strings.HasPrefix(head, "HTTP/1.1 200") {
		t.Errorf("CONNECT to ok.test's address: %q", head)
	}
	for _, host := range []string{"c2.test", "127.0.0.1", "127.18.77.1", netip.AddrFrom4([4]byte{198, 18, given[2], given[3]}).String()} {
		if head, _ := w.connectTo(host + ":443"); !strings.HasPrefix(head, "HTTP/1.1 403 claude-bottle: no rule") {
			t.Errorf("CONNECT %s: %q", host, head)
		}
		c := w.raw(w.proxy)
		_, _ = fmt.Fprintf(c, "\x05\x01\x00\x05\x01\x00\x03%c%s\x01\xbb", len(host), host)
		reply := make([]byte, 12)
		if _, err := io.ReadFull(c, reply); err != nil || reply[3] != 2 {
			t.Errorf("SOCKS %s: %x, %v", host, reply, err)
		}
	}
}
