package egress_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/egress/authority"
	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

const (
	realKey     = "sk-real-0123456789-abcdef"
	placeholder = "bottle-placeholder-0001"
	session     = "session/token+of/the/operators=="
	nonce       = "nonce-4711"
	listed      = "hV7qLm2ZtR8wXc4NbD6kEy9P"
	bait        = "AKIAQ3ZV7T5KJ2WXN4LB"
	controlHost = "bottle.internal"
)

// Addresses of the pretended internet. Nothing is dialled there: world maps them to loopback.
var (
	okAddr = netip.MustParseAddr("93.184.216.34")
	c2Addr = netip.MustParseAddr("93.184.216.66")
)

// capture is a server outside that keeps every byte it was sent.
type capture struct {
	*httptest.Server
	mu   sync.Mutex
	seen bytes.Buffer
	hits int
}

func (c *capture) note(r *http.Request) {
	dump, _ := httputil.DumpRequest(r, false)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits++
	c.seen.Write(dump)
}

func (c *capture) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.String()
}

func (c *capture) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits
}

// world is everything around an engine: upstreams, a resolver that counts, the bottle's ways in.
type world struct {
	t      testing.TB
	proxy  string // address of the proxy port
	any    *anyListener
	dns    string
	engine *egress.Engine
	ca     *authority.Authority // the bottle's
	pki    *authority.Authority // the world's

	ok, plain, c2 *capture
	narrow        bool   // the bottle's network
	end           func() // of Serve, which fails the test where it hangs

	mu       sync.Mutex
	hosts    map[string][]netip.Addr
	ports    map[netip.AddrPort]string
	resolved []string
	dialled  []netip.AddrPort
	events   []audit.Event
	changed  chan struct{}
}

// route makes a Route; edit narrows it.
func route(t testing.TB, id, host string, edit ...func(*policy.Route)) policy.Route {
	t.Helper()
	h, err := policy.ParseHost(host)
	if err != nil {
		t.Fatal(err)
	}
	r := policy.Route{ID: id, Host: h}
	for _, f := range edit {
		f(&r)
	}
	return r
}

func plain(r *policy.Route) { r.Plain = true }

func matches(m ...policy.Match) func(*policy.Route) {
	return func(r *policy.Route) { r.Matches = m }
}

func auth(scheme string) func(*policy.Route) {
	return func(r *policy.Route) {
		r.Auth = &policy.Auth{Scheme: scheme, Ref: "KEY", Placeholder: placeholder}
	}
}

// standard is the policy of the attack table: ok.test may be asked GET / and POST /api, over TLS
// and in the clear; llm.test needs the placeholder.
func standard(t testing.TB) []policy.Route {
	return []policy.Route{
		route(t, "ok", "ok.test", plain, matches(
			policy.Match{Methods: []string{"GET", "HEAD"}},
			policy.Match{Methods: []string{"POST"}, Paths: []policy.PathMatch{{Type: policy.PathPrefix, Value: "/api"}}},
		)),
		route(t, "llm", "llm.test", auth(policy.SchemeBearer)),
		route(t, "sub", "*.wild.test", plain),
	}
}

func newWorld(t testing.TB, routes []policy.Route, edit ...func(*egress.Config)) *world {
	t.Helper()
	return newWorldAround(t, false, routes, edit...)
}

// newWorldAround makes a world around a bottle whose network is narrow, or not.
func newWorldAround(t testing.TB, narrow bool, routes []policy.Route, edit ...func(*egress.Config)) *world {
	t.Helper()
	w := &world{t: t, narrow: narrow, changed: make(chan struct{}), hosts: map[string][]netip.Addr{}, ports: map[netip.AddrPort]string{}}
	w.ca, w.pki = newAuthority(t), newAuthority(t)
	w.ok = w.serve(true, "ok.test", "llm.test", "a.wild.test")
	w.plain = w.serve(false)
	w.c2 = w.serve(true, "c2.test", "evil-ok.test", "ok.test.c2.test")
	for _, host := range []string{"ok.test", "llm.test", "a.wild.test"} {
		w.hosts[host] = []netip.Addr{okAddr}
	}
	w.hosts["c2.test"] = []netip.Addr{c2Addr}
	w.ports[netip.AddrPortFrom(okAddr, 443)] = w.ok.Listener.Addr().String()
	w.ports[netip.AddrPortFrom(okAddr, 80)] = w.plain.Listener.Addr().String()
	w.ports[netip.AddrPortFrom(c2Addr, 443)] = w.c2.Listener.Addr().String()

	p, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	cfg := egress.Config{
		Policy: p, Authority: w.ca,
		Secrets: map[string]secret.Value{"KEY": secret.New(realKey)},
		Record:  w.record,
		Control: egress.Control{Host: controlHost, Nonce: nonce},
		Roots:   pool(w.pki),
		Resolve: w.resolve,
		Dial:    w.dial,
		Limits:  egress.Limits{Sniff: 20 * time.Second}, // a busy machine may be long about a first byte
	}
	cfg.Inspector = inspector(t)
	for _, f := range edit {
		f(&cfg)
	}
	if w.engine, err = egress.New(cfg); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

// inspector looks for what a warden would: the injected credential, a secret the operator listed, and
// a canary.
func inspector(t testing.TB) *inspect.Inspector {
	t.Helper()
	s, err := inspect.NewScanner([]scan.Secret{
		{Name: "KEY", Value: secret.New(realKey)}, {Name: "LISTED", Value: secret.New(listed)}, {Name: "BAIT", Value: secret.New(bait), Canary: true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return inspect.New(inspect.Config{Scanner: s, Echoes: map[string][]secret.Value{"KEY": {secret.New(realKey)}, "AWS_SECRET_ACCESS_KEY": {secret.New(session)}}})
}

func (w *world) start() {
	t := w.t
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.proxy, w.dns, w.any = l.Addr().String(), pc.LocalAddr().String(), newAnyListener(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.engine.Serve(ctx, wire.Ways{Proxy: l, Any: w.any, DNS: pc, Narrow: w.narrow}) }()
	w.end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("Serve did not end with its context")
		}
	})
	t.Cleanup(w.end)
}

func newAuthority(t testing.TB) *authority.Authority {
	t.Helper()
	a, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pool(a *authority.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(a.PEM())
	return p
}

// serve starts an upstream that answers with what it was asked and knows a few tricks.
func (w *world) serve(tlsOn bool, names ...string) *capture {
	c := &capture{}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c.note(r)
		upstream(rw, r)
	}))
	c.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what some tests want
	if tlsOn {
		c.EnableHTTP2 = true
		c.TLS = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			for _, n := range names {
				if n == h.ServerName {
					return w.pki.Leaf(n)
				}
			}
			return nil, errors.New("no such host")
		}}
		c.StartTLS()
	} else {
		c.Start()
	}
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) record(e audit.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resolved = append(w.resolved, host)
	if a := w.hosts[host]; a != nil {
		return append([]netip.Addr(nil), a...), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (w *world) dial(ctx context.Context, network string, addr netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, addr)
	to, ok := w.ports[addr]
	w.mu.Unlock()
	if !ok {
		to = addr.String()
		if !addr.Addr().IsLoopback() {
			return nil, fmt.Errorf("the test's world has no %s", addr)
		}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, to)
}

// event waits for an event that f accepts.
func (w *world) event(what string, f func(audit.Event) bool) audit.Event {
	w.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		w.mu.Lock()
		for _, e := range w.events {
			if f(e) {
				w.mu.Unlock()
				return e
			}
		}
		changed := w.changed
		all := fmt.Sprintf("%+v", w.events)
		w.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			w.t.Fatalf("no event: %s; there are %s", what, all)
		}
	}
}

func denied(host string) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Verdict == "deny" && e.Host == host }
}

// untouched fails when the world outside saw a look-up, a connection or a request.
func (w *world) untouched() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.resolved) > 0 || len(w.dialled) > 0 {
		w.t.Errorf("the outside saw look-ups %v and connections %v", w.resolved, w.dialled)
	}
}

// client is a program in the bottle that uses the explicit proxy.
func (w *world) client() *http.Client {
	u := &url.URL{Scheme: "http", Host: w.proxy}
	return w.clientWith(&http.Transport{Proxy: http.ProxyURL(u), ForceAttemptHTTP2: true})
}

func (w *world) clientWith(t *http.Transport) *http.Client {
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{RootCAs: pool(w.ca)}
	}
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 2 * time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// socksClient uses SOCKS5h.
func (w *world) socksClient() *http.Client {
	return w.clientWith(&http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: w.proxy}), ForceAttemptHTTP2: true})
}

// directClient uses no proxy: its connections are caught at the address it dials.
func (w *world) directClient(at netip.AddrPort) *http.Client {
	return w.clientWith(&http.Transport{ForceAttemptHTTP2: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return w.any.dial(at)
	}})
}

func get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	return do(t, c, http.MethodGet, url, nil)
}

func do(t testing.TB, c *http.Client, method, url string, h http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range h {
		req.Header[k] = v
	}
	return answerTo(t, c, req)
}

func answerTo(t testing.TB, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", req.Method, req.URL, err)
	}
	return res, string(body)
}

// refused expects a denial in words.
func refused(t testing.TB, res *http.Response, body string, words ...string) {
	t.Helper()
	if res.StatusCode != http.StatusForbidden || res.Header.Get("X-Claude-Bottle") != "denied" {
		t.Errorf("status %d, header %v, want a denial; body %q", res.StatusCode, res.Header, body)
	}
	for _, s := range words {
		if !strings.Contains(body, s) {
			t.Errorf("the denial does not say %q:\n%s", s, body)
		}
	}
}

// connectTo sends a raw CONNECT and returns the answer and the tunnel.
func (w *world) connectTo(target string, header ...string) (string, net.Conn) {
	w.t.Helper()
	c := w.raw(w.proxy)
	_, _ = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n%s\r\n", target, strings.Join(header, ""))
	return readHead(w.t, c), c
}

func (w *world) raw(addr string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// readHead reads up to the empty line, a byte at a time so that nothing of the tunnel is taken.
func readHead(t testing.TB, c net.Conn) string {
	t.Helper()
	var b []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
		if _, err := c.Read(one); err != nil {
			return string(b)
		}
		b = append(b, one[0])
	}
	return string(b)
}

// anyListener makes connections that know where they were meant to go.
type anyListener struct {
	l     net.Listener
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	mu    sync.Mutex
}

type destined struct {
	net.Conn
	to netip.AddrPort
}

func (d destined) Destination() netip.AddrPort { return d.to }

func newAnyListener(t testing.TB) *anyListener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &anyListener{l: l, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (a *anyListener) dial(to netip.AddrPort) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := net.Dial("tcp", a.l.Addr().String())
	if err != nil {
		return nil, err
	}
	s, err := a.l.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case a.conns <- destined{s, to}:
		return c, nil
	case <-a.done:
		_ = s.Close()
		_ = c.Close()
		return nil, net.ErrClosed
	}
}

func (a *anyListener) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.done:
		return nil, net.ErrClosed
	}
}

func (a *anyListener) Close() error {
	a.once.Do(func() { close(a.done); _ = a.l.Close() })
	return nil
}

func (a *anyListener) Addr() net.Addr { return a.l.Addr() }

func tlsTrusting(a *authority.Authority) *tls.Config { return &tls.Config{RootCAs: pool(a)} }
