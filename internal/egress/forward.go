package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

const (
	// maxAnswerHeader bounds an upstream's header, in bytes.
	maxAnswerHeader = 256 << 10
	// tlsUpstream is how long a TLS handshake with an upstream may take.
	tlsUpstream = 15 * time.Second
	// statusGone is written to the audit log when the bottle left before an answer.
	statusGone = 499
)

// road is how requests of one route go upstream: its own pool of connections, dialled by its own
// permissions, so that what one route may reach never serves another.
type road struct {
	e        *Engine
	route    *policy.Route
	upstream *url.URL       // nil: the host itself
	roots    *x509.CertPool // nil: the host's

	// Made on first use. A request goes upstream in the version the bottle asked in, where the
	// upstream speaks it: HTTP/1.1, from which WebSockets start, over many connections, HTTP/2 over one.
	http1, http2 func() *http.Transport
	mu           sync.Mutex
	made         []*http.Transport
}

type roads map[*policy.Route]*road

func (e *Engine) newRoads() (roads, error) {
	all := make(roads)
	routes := e.cfg.Policy.Routes()
	for i := range routes {
		r := &routes[i]
		d := &road{e: e, route: r, roots: e.cfg.Roots}
		if r.Upstream != nil {
			u, err := r.Upstream.Parse()
			if err != nil {
				return nil, fmt.Errorf("rule %s: %w", r.ID, err)
			}
			d.upstream = u
			if r.Upstream.CA != "" {
				d.roots = x509.NewCertPool()
				if !d.roots.AppendCertsFromPEM([]byte(r.Upstream.CA)) {
					return nil, fmt.Errorf("rule %s: the upstream's ca holds no certificate in PEM form", r.ID)
				}
			}
		}
		d.http1 = sync.OnceValue(func() *http.Transport { return d.transport(false) })
		d.http2 = sync.OnceValue(func() *http.Transport { return d.transport(true) })
		all[r] = d
	}
	return all, nil
}

func (d *road) transport(http2 bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(http2)
	t := &http.Transport{
		DialContext:            d.dial,
		TLSClientConfig:        &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(16)},
		TLSHandshakeTimeout:    tlsUpstream,
		DisableCompression:     true, // bodies pass as they are
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        d.e.cfg.Limits.Idle,
		ResponseHeaderTimeout:  d.e.cfg.Limits.Answer,
		ExpectContinueTimeout:  5 * time.Second,
		MaxResponseHeaderBytes: maxAnswerHeader,
		Protocols:              protocols,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = append(d.made, t)
	return t
}

// closeIdle closes the connections no request uses.
func (r roads) closeIdle() {
	for _, d := range r {
		d.mu.Lock()
		for _, t := range d.made {
			t.CloseIdleConnections()
		}
		d.mu.Unlock()
	}
}

// RoundTrip sends a forwarded request on its route's road. The exchange in its context says which.
func (e *Engine) roundTrip(r *http.Request) (*http.Response, error) {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("egress: a request nobody judged")
	}
	d := e.roads[x.route]
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if a, ok := info.Conn.RemoteAddr().(*net.TCPAddr); ok {
				x.addr = a.IP.String()
			}
		},
	})
	if x.r.ProtoMajor == 1 {
		return d.http1().RoundTrip(r.WithContext(ctx))
	}
	return d.http2().RoundTrip(r.WithContext(ctx))
}

// roundTripper adapts a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// newProxy makes the forwarding half: net/http's own, which knows hop-by-hop headers, trailers,
// informational answers and upgrades. It flushes what streams (events, bodies of unknown length)
// at once; redirects are the client's business.
func (e *Engine) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        e.rewrite,
		Transport:      roundTripper(e.roundTrip),
		ModifyResponse: e.answered,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
				x.broken(err)
			}
		},
		BufferPool: &buffers{},
		ErrorLog:   slog.NewLogLogger(e.cfg.Logger.Handler(), slog.LevelDebug),
	}
}

// rewrite aims the outgoing request: the judged host and port or the route's upstream, the path
// exactly as it was judged, and the route's credential in the place of the bottle's.
func (e *Engine) rewrite(p *httputil.ProxyRequest) {
	x, ok := p.In.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return // roundTrip refuses it
	}
	out := p.Out
	out.Host = "" // the URL's
	out.URL.RawQuery = p.In.URL.RawQuery
	if u := e.roads[x.route].upstream; u != nil {
		out.URL.Scheme, out.URL.Host = u.Scheme, u.Host
	} else {
		standard := uint16(80)
		out.URL.Scheme, out.URL.Host = "http", x.host
		if x.tls {
			out.URL.Scheme, standard = "https", 443
		}
		if x.port != standard || isAddr(x.host) {
			out.URL.Host = net.JoinHostPort(x.host, strconv.Itoa(int(x.port)))
		}
	}
	e.creds.inject(out.Header, x.route)
}

// answered sees an upstream's final header before the bottle does, a WebSocket's included.
func (e *Engine) answered(res *http.Response) error {
	x, ok := res.Request.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return errors.New("egress: an answer to nobody's request")
	}
	x.status = res.StatusCode
	// An offer to go on over QUIC could not be taken up: no UDP leaves a bottle.
	res.Header.Del("Alt-Svc")
	// Only the engine says that something was denied.
	res.Header.Del(deniedHeader)
	if x.route.Auth != nil {
		e.scrub.header(res.Header)
	}
	return nil
}

// broken ends an exchange whose upstream could not be used, or whose bottle left.
func (x *exchange) broken(err error) {
	var guard *guardError
	switch {
	case errors.As(err, &guard):
		v := guard.verdict
		v.Why, v.Ask = x.e.scrub.text(v.Why), x.e.scrub.text(v.Ask)
		x.verdict, x.status = v, http.StatusForbidden
		x.explain("denied", "was denied by this bottle's policy", v, x.status)
	case x.r.Context().Err() != nil:
		x.status = statusGone
		panic(http.ErrAbortHandler) // nobody reads an answer, and none must look complete
	default:
		x.fail(err)
	}
}

// reason says in words what went wrong with an upstream.
func reason(err error) string {
	var (
		cert *tls.CertificateVerificationError
		dns  *net.DNSError
		op   *net.OpError
	)
	switch {
	case errors.As(err, &cert):
		return "its certificate is not to be trusted: " + cert.Err.Error()
	case errors.As(err, &dns):
		return "its name can't be resolved: " + dns.Err
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	case errors.As(err, &op) && op.Op == "dial":
		return "it can't be connected to: " + op.Err.Error()
	}
	return err.Error()
}

// buffers lends copy buffers: enough for a few TLS records, returned when the copying ends.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
