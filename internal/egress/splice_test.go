package egress_test

import (
	"bufio"
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

func passthrough(r *policy.Route) { r.Passthrough = true }

func tcp(ports ...uint16) func(*policy.Route) {
	return func(r *policy.Route) { r.TCP, r.Ports = true, ports }
}

// uninspected is a world with a host whose TLS passes as it is, and one with a port of raw TCP,
// where a server greets, and answers what it read when that ends.
func uninspected(t testing.TB, edit ...func(*egress.Config)) *world {
	t.Helper()
	w := newWorld(t, append(standard(t), route(t, "pin", "pin.test", passthrough), route(t, "db", "db.test", tcp(5432))), edit...)
	pinned := w.serve(true, "pin.test")
	addrs := map[string]netip.AddrPort{"pin.test": netip.MustParseAddrPort("93.184.216.35:443"), "db.test": netip.MustParseAddrPort("93.184.216.36:5432")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, "220 ready\n")
				all, _ := io.ReadAll(c)
				_, _ = c.Write(bytes.ToUpper(all))
			}()
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	for host, at := range addrs {
		w.hosts[host] = []netip.Addr{at.Addr()}
	}
	w.ports[addrs["pin.test"]] = pinned.Listener.Addr().String()
	w.ports[addrs["db.test"]] = l.Addr().String()
	return w
}

// opened are connections to host and port over the three ways that make one.
func (w *world) opened(host string, port uint16) map[audit.Via]net.Conn {
	w.t.Helper()
	head, tunnel := w.connectTo(net.JoinHostPort(host, strconv.Itoa(int(port))))
	if !strings.HasPrefix(head, "HTTP/1.1 200") {
		w.t.Fatalf("CONNECT: %q", head)
	}
	socks := w.raw(w.proxy)
	_, _ = io.WriteString(socks, "\x05\x01\x00\x05\x01\x00\x03"+string([]byte{byte(len(host))})+host+string([]byte{byte(port >> 8), byte(port)}))
	if _, err := io.ReadFull(socks, make([]byte, 12)); err != nil {
		w.t.Fatal(err)
	}
	caught, err := w.any.dial(w.lookup(host, port))
	if err != nil {
		w.t.Fatal(err)
	}
	_ = caught.SetDeadline(time.Now().Add(20 * time.Second))
	w.t.Cleanup(func() { _ = caught.Close() })
	return map[audit.Via]net.Conn{audit.ViaConnect: tunnel, audit.ViaSOCKS: socks, audit.ViaTransparent: caught}
}

// What nobody looks into is bounded all the same.
func TestC14ABudgetHoldsForWhatIsNotLookedInto(t *testing.T) {
	t.Parallel()
	w := uninspected(t, func(c *egress.Config) {
		r := route(t, "db", "db.test", tcp(5432))
		r.Scan.Budget = 1 << 20
		var err error
		if c.Policy, err = policy.Compile([]policy.Route{r}); err != nil {
			t.Fatal(err)
		}
	})
	said := 0
	piece := bytes.Repeat([]byte("x"), 100<<10)
	for via, c := range w.opened("db.test", 5432) {
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); err != nil || line != "220 ready\n" {
			t.Fatalf("%s: %q, %v", via, line, err)
		}
		for range 6 { // 600 KiB each: the second is one too many
			n, err := c.Write(piece)
			if said += n; err != nil {
				break
			}
		}
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, r) // until it is over
	}
	e := w.event("the end", func(e audit.Event) bool { return e.Verdict == "deny" && e.Host == "db.test" })
	if e.Rule != "db" || !strings.Contains(e.Why, "1048576 bytes leave") || len(e.Findings) != 1 || e.Findings[0].Kind != "volume" || e.Findings[0].Action != "blocked" || e.Addr == "" {
		t.Errorf("%+v", e)
	}
	w.event("three ends", func(audit.Event) bool { return len(w.events) >= 3 })
	var out int64
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		out += e.BytesOut
	}
	if out > 1<<20 || out < 1<<19 {
		t.Errorf("%d bytes left, of %d said", out, said)
	}
}

func TestA18PassthroughCarriesTheHostsOwnTLSAndIsRecordedAsUninspected(t *testing.T) {
	t.Parallel()
	w := uninspected(t)
	for via, c := range w.opened("pin.test", 443) {
		tc := tls.Client(c, &tls.Config{ServerName: "pin.test", RootCAs: pool(w.pki), NextProtos: []string{"http/1.1"}})
		res, body, err := ask1(t, tc, bufio.NewReader(tc), "GET /x HTTP/1.1\r\nHost: pin.test\r\nConnection: close\r\nAuthorization: Bearer "+placeholder+"\r\n\r\n")
		if err != nil || res.StatusCode != 200 || body != "GET pin.test /x HTTP/1.1 0" {
			t.Errorf("%s: %v %q %v", via, res, body, err)
		}
		_ = tc.Close()
		e := w.event("passed through "+string(via), func(e audit.Event) bool { return e.Via == via && e.Host == "pin.test" && e.Kind == audit.KindConnect })
		if e.Verdict != "allow" || e.Rule != "pin" || !strings.Contains(e.Why, "uninspected") || e.BytesOut == 0 || e.BytesIn == 0 || e.Addr == "" {
			t.Errorf("%s: %+v", via, e)
		}
	}
}

func TestA09A17PassthroughTakesOneNameAndNoHiddenOne(t *testing.T) {
	t.Parallel()
	w := uninspected(t)
	for why, conf := range map[string]*tls.Config{
		"sni mismatch":                         {ServerName: "c2.test", RootCAs: pool(w.pki)},
		"or none":                              {InsecureSkipVerify: true},
		"an encrypted ClientHello hides":       {ServerName: "c2.test", RootCAs: pool(w.pki), EncryptedClientHelloConfigList: echConfig(t, "pin.test")},
		"than the connection is for (pin.test": {ServerName: "pin.test", RootCAs: pool(w.pki), EncryptedClientHelloConfigList: echConfig(t, "c2.test")},
	} {
		for via, c := range w.opened("pin.test", 443) {
			if err := tls.Client(c, conf).Handshake(); err == nil {
				t.Errorf("%s: %s was carried", via, why)
			}
			w.event(why, func(e audit.Event) bool {
				return e.Via == via && e.Verdict == "deny" && e.Rule == "pin" && strings.Contains(e.Why, why)
			})
		}
	}
	for _, c := range w.opened("pin.test", 443) {
		_, _ = c.Write([]byte("\x16garbage garbage garbage"))
		_, _ = io.ReadAll(c)
	}
	w.event("garbage", func(e audit.Event) bool { return e.Host == "pin.test" && e.Why == "the TLS handshake failed" })
	w.untouched()
	// In the clear there is something to say it with.
	_, c := w.connectTo("pin.test:443")
	res, body, err := ask1(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: pin.test\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, res, body, "allow TLS only")
	res, body = get(t, w.client(), "http://pin.test/")
	refused(t, res, body, "allow TLS only")
	w.untouched()
}

func TestA17AnEncryptedClientHelloReachesNobodyInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	head, c := w.connectTo("ok.test:443")
	tc := tls.Client(c, &tls.Config{ServerName: "c2.test", RootCAs: pool(w.ca), EncryptedClientHelloConfigList: echConfig(t, "ok.test")})
	err := tc.Handshake()
	if _, ok := errors.AsType[*tls.ECHRejectionError](err); !ok {
		t.Errorf("%q, then %v", head, err)
	}
	// The outer name counts, and it is somebody else's here.
	_, c = w.connectTo("ok.test:443")
	if err := tls.Client(c, &tls.Config{ServerName: "ok.test", RootCAs: pool(w.ca), EncryptedClientHelloConfigList: echConfig(t, "c2.test")}).Handshake(); err == nil {
		t.Error("a wrong outer name was served")
	}
	w.event("sni", func(e audit.Event) bool { return strings.HasPrefix(e.Why, "sni mismatch") })
	w.untouched()
}

// echConfig is an ECHConfigList for a public name, whose private key nobody has: RFC 9849 section 4.
func echConfig(t testing.TB, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub := key.PublicKey().Bytes()
	body := append([]byte{7, 0, 0x20, 0, byte(len(pub))}, pub...)
	body = append(body, 0, 4, 0, 1, 0, 1, 32, byte(len(public)))
	body = append(append(body, public...), 0, 0)
	one := binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(body)))
	one = append(one, body...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(one))), one...)
}

// slicing writes every byte on its own, and cuts each TLS record in two.
type slicing struct{ net.Conn }

func (s slicing) Write(p []byte) (int, error) {
	if p[0] == 0x16 && len(p) > 100 {
		record := func(b []byte) []byte { return append([]byte{p[0], p[1], p[2], byte(len(b) >> 8), byte(len(b))}, b...) }
		if size := int(p[3])<<8 | int(p[4]); size+5 == len(p) {
			cut := append(record(p[5:60]), record(p[60:])...)
			for i := range cut {
				if _, err := s.Conn.Write(cut[i : i+1]); err != nil {
					return 0, err
				}
			}
			return len(p), nil
		}
	}
	return s.Conn.Write(p)
}

func TestPassthroughReadsAClientHelloInPieces(t *testing.T) {
	t.Parallel()
	w := uninspected(t)
	for via, c := range w.opened("pin.test", 443) {
		if err := tls.Client(slicing{c}, &tls.Config{ServerName: "pin.test", RootCAs: pool(w.pki)}).Handshake(); err != nil {
			t.Errorf("%s: %v", via, err)
		}
	}
}

func TestRawTCPPassesByNameAndPortWhoeverSpeaksFirst(t *testing.T) {
	t.Parallel()
	w := uninspected(t)
	for via, c := range w.opened("db.test", 5432) {
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); line != "220 ready\n" || err != nil {
			t.Fatalf("%s: %q, %v", via, line, err)
		}
		_, _ = io.WriteString(c, "select 1")
		_ = c.(*net.TCPConn).CloseWrite()
		if rest, err := io.ReadAll(r); string(rest) != "SELECT 1" || err != nil {
			t.Errorf("%s, after half of it closed: %q, %v", via, rest, err)
		}
		e := w.event("raw "+string(via), func(e audit.Event) bool { return e.Via == via && e.Host == "db.test" })
		if e.Kind != audit.KindConnect || e.Verdict != "allow" || e.Rule != "db" || !strings.Contains(e.Why, "uninspected") || e.BytesOut != 8 || e.BytesIn != 18 || e.Port != 5432 {
			t.Errorf("%+v", e)
		}
	}
}

func TestRawTCPIsForItsNameAndPortAlone(t *testing.T) {
	t.Parallel()
	w := uninspected(t)
	for _, target := range []string{"db.test:5433", "db.test:443", "db.test:80", "ok.test:5432", "93.184.216.36:5432"} {
		if head, _ := w.connectTo(target); !strings.HasPrefix(head, "HTTP/1.1 403") {
			t.Errorf("CONNECT %s: %q", target, head)
		}
	}
	c, err := w.any.dial(netip.MustParseAddrPort("93.184.216.36:5432"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte{0})
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("a bare address got %q", got)
	}
	res, body := get(t, w.client(), "http://db.test:5432/")
	refused(t, res, body, "db.test")
	w.untouched()
}

func TestUninspectedConnectionsMeetTheDialGuard(t *testing.T) {
	t.Parallel()
	w := uninspected(t)
	w.mu.Lock()
	w.hosts["pin.test"] = []netip.Addr{netip.MustParseAddr("93.184.216.35"), netip.MustParseAddr("10.0.0.5")}
	w.hosts["db.test"] = []netip.Addr{netip.MustParseAddr("169.254.169.254")}
	w.mu.Unlock()
	for _, c := range w.opened("pin.test", 443) {
		if err := tls.Client(c, &tls.Config{ServerName: "pin.test", RootCAs: pool(w.pki)}).Handshake(); err == nil {
			t.Error("a private address was reached")
		}
	}
	for _, c := range w.opened("db.test", 5432) {
		if got, _ := io.ReadAll(c); len(got) > 0 {
			t.Errorf("read %q", got)
		}
	}
	for host, why := range map[string]string{"pin.test": "10.0.0.5, ", "db.test": "metadata"} {
		w.event(host, func(e audit.Event) bool { return e.Host == host && e.Verdict == "deny" && strings.Contains(e.Why, why) })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dialled) > 0 {
		t.Errorf("dialled %v", w.dialled)
	}
}

func TestUninspectedConnectionsEndWhenNobodySpeaks(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*egress.Config){
		"silence": func(c *egress.Config) { c.Limits.Silence = 50 * time.Millisecond },
		"life":    func(c *egress.Config) { c.Limits.Life = 50 * time.Millisecond },
	} {
		w := uninspected(t, limit)
		for via, c := range w.opened("db.test", 5432) {
			_, _ = io.ReadAll(c) // its deadline is far away
			e := w.event(name, func(e audit.Event) bool { return e.Via == via && e.Host == "db.test" })
			if e.Verdict != "allow" || e.Millis > 15000 {
				t.Errorf("%s, %s: %+v", name, via, e)
			}
		}
	}
	w := uninspected(t)
	for _, c := range w.opened("db.test", 5432) {
		_, _ = c.Read(make([]byte, 1))
	}
	w.end()
}

func TestAnUninspectedUpstreamThatFailsIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{route(t, "db", "gone.test", tcp(5432))})
	head, c := w.connectTo("gone.test:5432")
	if got, _ := io.ReadAll(c); len(got) > 0 || !strings.HasPrefix(head, "HTTP/1.1 200") {
		t.Errorf("%q, %q", head, got)
	}
	w.event("failed", func(e audit.Event) bool {
		return e.Status == 502 && strings.Contains(e.Why, "its name can't be resolved")
	})
}
