package egress_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// ask sends one query and returns the answer.
func (w *world) ask(name string, kind dnsmessage.Type) dnsmessage.Message {
	w.t.Helper()
	n, err := dnsmessage.NewName(name)
	if err != nil {
		w.t.Fatal(err)
	}
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}},
	}
	b, err := q.Pack()
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := net.Dial("udp", w.dns)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(b); err != nil {
		w.t.Fatal(err)
	}
	buf := make([]byte, 1500)
	size, err := c.Read(buf)
	if err != nil {
		w.t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(buf[:size]); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// lookup does what a program in the bottle does before it connects.
func (w *world) lookup(name string, port uint16) netip.AddrPort {
	w.t.Helper()
	m := w.ask(name+".", dnsmessage.TypeA)
	if len(m.Answers) != 1 {
		w.t.Fatalf("%s: %+v", name, m)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(m.Answers[0].Body.(*dnsmessage.AResource).A), port)
}

func TestB02B03B04NamesWithoutARuleDoNotExistAndNobodyOutsideHears(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, name := range []string{"c2.test.", "secret.ok.test.", "wild.test.", "736563726574.c2.test.", "localhost.", "metadata.google.internal.", "10.0.0.1.", "a_b.wild.test.", "."} {
		for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeTXT} {
			if m := w.ask(name, kind); m.RCode != dnsmessage.RCodeNameError || len(m.Answers) > 0 {
				t.Errorf("%s %s: %+v", name, kind, m)
			}
		}
	}
	e := w.event("dns denied", func(e audit.Event) bool { return e.Kind == audit.KindDNS && e.Host == "secret.ok.test" })
	if e.Verdict != "deny" || e.Why == "" || e.Via != audit.ViaDNS {
		t.Errorf("%+v", e)
	}
	w.untouched()
}

func TestAllowedNamesHaveStableAddressesOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	ok := w.lookup("ok.test", 443)
	if !netip.MustParsePrefix("198.18.0.0/15").Contains(ok.Addr()) {
		t.Errorf("ok.test is at %s", ok)
	}
	seen := map[netip.AddrPort]string{ok: "ok.test"}
	for i := range 300 {
		name := fmt.Sprintf("h%d.wild.test", i)
		a := w.lookup(name, 443)
		if other := seen[a]; other != "" {
			t.Fatalf("%s and %s share %s", name, other, a)
		}
		seen[a] = name
	}
	if again := w.lookup("OK.test", 443); again != ok {
		t.Errorf("ok.test moved from %s to %s", ok, again)
	}
	w.lookup(controlHost, 80)
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeTXT, dnsmessage.Type(65), dnsmessage.Type(64), dnsmessage.TypeALL} {
		if m := w.ask("ok.test.", kind); m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) > 0 {
			t.Errorf("ok.test %s: %+v", kind, m)
		}
	}
	w.untouched()
}
