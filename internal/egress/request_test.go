package egress_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// tunnel opens CONNECT to target and speaks TLS in it with the given SNI.
func (w *world) tunnel(target, sni string) (*tls.Conn, error) {
	w.t.Helper()
	head, c := w.connectTo(target)
	if !strings.HasPrefix(head, "HTTP/1.1 200") {
		w.t.Fatalf("CONNECT %s: %q", target, head)
	}
	tc := tls.Client(c, &tls.Config{ServerName: sni, InsecureSkipVerify: sni == "", RootCAs: pool(w.ca)})
	return tc, tc.Handshake()
}

// ask1 writes a raw request and reads its answer.
func ask1(t testing.TB, c io.ReadWriter, r *bufio.Reader, request string) (*http.Response, string, error) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		return nil, "", err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

func TestA09TheHandshakeMustNameTheConnectionsHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, sni := range []string{"c2.test", "a.wild.test", ""} {
		if _, err := w.tunnel("ok.test:443", sni); err == nil {
			t.Errorf("SNI %q in a tunnel to ok.test was served", sni)
		}
	}
	w.event("sni", func(e audit.Event) bool {
		return e.Kind == audit.KindConnect && e.Host == "ok.test" && strings.HasPrefix(e.Why, "sni mismatch")
	})
	_, c := w.connectTo("ok.test:443")
	_, _ = c.Write([]byte("\x16garbage garbage garbage"))
	if rest, _ := io.ReadAll(c); strings.Contains(string(rest), "HTTP") {
		t.Errorf("garbage after 0x16 got %q", rest)
	}
	w.event("garbage", func(e audit.Event) bool { return strings.HasPrefix(e.Why, "the TLS handshake failed") })
	if _, err := w.tunnel("ok.test:443", "ok.test"); err != nil {
		t.Errorf("benign: %v", err)
	}
	w.untouched()
}

func TestA10TheRequestMustNameTheConnectionsHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, host := range []string{"c2.test", "llm.test", "ok.test:444", "ok.test.c2.test", "", "ok.test@c2.test"} {
		c, err := w.tunnel("ok.test:443", "ok.test")
		if err != nil {
			t.Fatal(err)
		}
		res, body, err := ask1(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == http.StatusBadRequest {
			continue // net/http saw that it is no host
		}
		refused(t, res, body, "host mismatch: the connection is for ok.test")
	}
	// The same over HTTP/2: a client that puts another :authority on a connection to ok.test.
	req, _ := http.NewRequest("GET", "https://ok.test/", nil)
	req.Host = "c2.test"
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.ProtoMajor != 2 {
		t.Errorf("spoke %s", res.Proto)
	}
	refused(t, res, string(body), "host mismatch")
	w.untouched()

	// In plain HTTP, a target and a Host that disagree are two readings.
	for _, hosts := range [][2]string{{"ok.test", "c2.test"}, {"c2.test", "ok.test"}} {
		c := w.raw(w.proxy)
		res, text, err := ask1(t, c, bufio.NewReader(c), "GET http://"+hosts[0]+"/a HTTP/1.1\r\nHost: "+hosts[1]+"\r\n\r\n")
		if err != nil || res.StatusCode != http.StatusBadRequest || !strings.Contains(text, "host mismatch") {
			t.Errorf("%v: %v %q %v", hosts, res, text, err)
		}
	}
	w.untouched()
	c := w.raw(w.proxy)
	res2, text, err := ask1(t, c, bufio.NewReader(c), "GET http://ok.test/a HTTP/1.1\r\nHost: ok.test:80\r\n\r\n")
	if err != nil || res2.StatusCode != 200 || text != "GET ok.test /a HTTP/1.1 0" {
		t.Errorf("benign: %v %q %v", res2, text, err)
	}
	if w.c2.requests() > 0 {
		t.Error("the capture server was reached")
	}
}

func TestA14TunnelsDoNotNest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c, err := w.tunnel("ok.test:443", "ok.test")
	if err != nil {
		t.Fatal(err)
	}
	res, body, err := ask1(t, c, bufio.NewReader(c), "CONNECT c2.test:443 HTTP/1.1\r\nHost: c2.test:443\r\n\r\n")
	if err == nil && res.StatusCode == 200 {
		t.Errorf("nested CONNECT: %v %q", res.StatusCode, body)
	}
	_, plain := w.connectTo("ok.test:80")
	head, _, err := ask1(t, plain, bufio.NewReader(plain), "CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\n\r\n")
	if err == nil && head.StatusCode == 200 {
		t.Errorf("nested CONNECT on a plain tunnel: %v", head)
	}
	w.event("nested", func(e audit.Event) bool { return strings.Contains(e.Why, "tunnels don't nest") })
	w.untouched()
}

func TestA16EachHopOfARedirectIsJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c := w.client()
	c.CheckRedirect = nil // follow, as a program would
	for _, to := range []string{"http://c2.test/?s=1", "http://169.254.169.254/latest"} {
		res, body := get(t, c, "http://ok.test/redirect?to="+to)
		refused(t, res, body, "no rule")
	}
	if res, body := get(t, c, "http://ok.test/redirect?to=https://ok.test/b"); res.StatusCode != 200 || !strings.Contains(body, "/b") {
		t.Errorf("benign: %d %q", res.StatusCode, body)
	}
	if w.c2.requests() > 0 {
		t.Error("the capture server was reached")
	}
}

func TestB07HTTP2InCleartextIsNotTakenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c := w.raw(w.proxy)
	_, _ = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if answer, _ := io.ReadAll(c); strings.Contains(string(answer), " 200") || len(answer) > 0 && answer[0] == 0 {
		t.Errorf("prior knowledge: %q", answer)
	}
	c = w.raw(w.proxy)
	res, body, err := ask1(t, c, bufio.NewReader(c), "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if err != nil || res.StatusCode != 200 || !strings.HasPrefix(body, "GET ok.test / HTTP/1.1") {
		t.Errorf("offer: %v %q %v", res, body, err)
	}
	if strings.Contains(strings.ToLower(w.plain.text()), "h2c") {
		t.Error("the offer went upstream")
	}
}

func TestB09EveryRequestOnAConnectionIsJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c, err := w.tunnel("ok.test:443", "ok.test")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for range 2 {
		if res, _, err := ask1(t, c, r, "GET /fine HTTP/1.1\r\nHost: ok.test\r\n\r\n"); err != nil || res.StatusCode != 200 {
			t.Fatalf("benign: %v %v", res, err)
		}
	}
	res, body, err := ask1(t, c, r, "DELETE /fine HTTP/1.1\r\nHost: ok.test\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, res, body, "DELETE https://ok.test/fine", "GET|HEAD", "POST /api/*", "DELETE /fine matches none", "methods: [DELETE]", "value: /fine")
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection stayed open after a denial")
	}
	// The same on the plain proxy port, where a connection may also change hosts.
	p := w.raw(w.proxy)
	pr := bufio.NewReader(p)
	if res, _, err := ask1(t, p, pr, "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"); err != nil || res.StatusCode != 200 {
		t.Fatalf("benign: %v %v", res, err)
	}
	if res, body, err = ask1(t, p, pr, "GET http://c2.test/ HTTP/1.1\r\nHost: c2.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	refused(t, res, body, "c2.test")
}

func TestB11OtherUpgradesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c := w.raw(w.proxy)
	res, body, err := ask1(t, c, bufio.NewReader(c), "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: upgrade\r\nUpgrade: connect-udp\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, res, body, "only WebSockets")
	w.untouched()
}

func TestPathTricksMatchNoRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{route(t, "ok", "ok.test", plain, matches(policy.Match{Paths: []policy.PathMatch{{Type: policy.PathPrefix, Value: "/api"}}}))})
	for _, path := range []string{"/api/../admin", "/api/%2e%2e/admin", "/api%2f..%2fadmin", "/api/..%5cadmin", "/apix", "/api//x", "/api/%00", "/api/..;/admin", "/api/%252e%252e/x", "/api/%c0%ae/x", "/admin"} {
		c := w.raw(w.proxy)
		res, body, err := ask1(t, c, bufio.NewReader(c), "GET http://ok.test"+path+" HTTP/1.1\r\nHost: ok.test\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		refused(t, res, body, "/api/*")
	}
	w.untouched()
	for _, path := range []string{"/api", "/api/", "/api/a%20b", "/api/%7Euser?x=/../y"} {
		c := w.raw(w.proxy)
		res, body, err := ask1(t, c, bufio.NewReader(c), "GET http://ok.test"+path+" HTTP/1.1\r\nHost: ok.test\r\n\r\n")
		if err != nil || res.StatusCode != 200 || !strings.Contains(body, path) {
			t.Errorf("benign %s: %v %q %v", path, res, body, err)
		}
	}
}

func TestDenialsAreJSONForThoseWhoAskForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	res, body := do(t, w.client(), "GET", "http://c2.test/x", http.Header{"Accept": {"application/json"}})
	var got struct {
		Error             struct{ Type, Message string }
		Request, Why, Ask string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if res.StatusCode != 403 || got.Error.Type != "claude_bottle_denied" || got.Request != "GET http://c2.test/x" ||
		!strings.Contains(got.Error.Message, got.Why) || !strings.Contains(got.Ask, "host: c2.test") || !strings.Contains(got.Ask, "plain: true") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestControlHostAnswersOnEveryWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for name, c := range map[string]*http.Client{
		"proxy": w.client(), "socks": w.socksClient(),
		"transparent": w.directClient(w.lookup(controlHost, 443)),
	} {
		if res, body := get(t, c, "https://"+controlHost+"/nonce"); res.StatusCode != 200 || body != nonce {
			t.Errorf("%s: %d %q", name, res.StatusCode, body)
		}
	}
	if _, body := get(t, w.client(), "http://"+controlHost+"/nonce"); body != nonce {
		t.Errorf("plain: %q", body)
	}
	if _, body := get(t, w.directClient(w.lookup(controlHost, 80)), "http://"+controlHost+"/nonce"); body != nonce {
		t.Errorf("transparent, plain: %q", body)
	}
	_, body := get(t, w.client(), "http://"+controlHost+"/policy")
	for _, s := range []string{`"host":"ok.test"`, `"host":"*.wild.test"`, `"auth":"Bearer"`} {
		if !strings.Contains(body, s) {
			t.Errorf("/policy lacks %s: %s", s, body)
		}
	}
	for _, s := range []string{realKey, placeholder, "KEY"} {
		if strings.Contains(body, s) {
			t.Errorf("/policy tells %s", s)
		}
	}
	if head, _ := w.connectTo(controlHost + ":22"); !strings.HasPrefix(head, "HTTP/1.1 403") {
		t.Errorf("port 22: %q", head)
	}
	w.untouched()
}

func TestEventsAndDenialsAreInert(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c := w.raw(w.proxy)
	_, body, err := ask1(t, c, bufio.NewReader(c), "DELETE http://ok.test/a%1b]52;c;x\xe2\x80\xaeb HTTP/1.1\r\nHost: ok.test\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\x1b", "\u202e"} {
		if strings.Contains(body, bad) {
			t.Errorf("the denial holds %q", bad)
		}
	}
	e := w.event("denied", denied("ok.test"))
	if strings.ContainsAny(e.Path+e.Why, "\x1b\u202e") {
		t.Errorf("%+v", e)
	}
}

func TestTooManyRequestsAreRefusedNotQueued(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t), limitRequests(1))
	c := w.client()
	req, _ := http.NewRequest("GET", "https://ok.test/events", nil)
	req.Header.Set("X-Go", "limit")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res, body := get(t, w.client(), "http://ok.test/"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the second: %d %q", res.StatusCode, body)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t), limitConns(2))
	a, b := w.raw(w.proxy), w.raw(w.proxy)
	for _, c := range []io.ReadWriter{a, b} {
		if res, _, err := ask1(t, c, bufio.NewReader(c), "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"); err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v", res, err)
		}
	}
	third := w.raw(w.proxy)
	if n, err := third.Read(make([]byte, 1)); err == nil {
		t.Errorf("the third connection got %d bytes", n)
	}
	w.event("too many", func(e audit.Event) bool { return strings.Contains(e.Why, "too many connections") })
}

func TestSyntheticAddressesStandForTheirNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	at := w.lookup("ok.test", 443)
	for _, target := range []string{at.String(), netip.AddrPortFrom(at.Addr(), 443).String()} {
		if head, _ := w.connectTo(target); !strings.HasPrefix(head, "HTTP/1.1 200") {
			t.Errorf("CONNECT %s: %q", target, head)
		}
	}
	if _, err := w.tunnel(at.String(), "ok.test"); err != nil {
		t.Errorf("TLS for the name behind %s: %v", at, err)
	}
	if head, _ := w.connectTo(fmt.Sprintf("198.19.255.254:%d", 443)); !strings.HasPrefix(head, "HTTP/1.1 403") {
		t.Errorf("an address nobody was given: %q", head)
	}
}
