package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/egress/ws"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/usage"
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
	lanes        sync.Map // of *lane, by scheme and authority
	laneCount    atomic.Int32
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
		TLSClientConfig:        d.tlsConfig(),
		TLSHandshakeTimeout:    tlsUpstream,
		DisableCompression:     true, // bodies pass as they are
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        d.e.cfg.Limits.Idle,
		ResponseHeaderTimeout:  d.e.cfg.Limits.Answer,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxAnswerHeader,
		Protocols:              protocols,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = append(d.made, t)
	return t
}

// tlsConfig is how an upstream proves who it is.
func (d *road) tlsConfig() *tls.Config {
	return &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(16)}
}

// closeIdle closes the connections no request uses.
func (r roads) closeIdle() {
	for _, d := range r {
		d.lanes.Range(func(_, l any) bool { l.(*lane).close(); return true })
		d.mu.Lock()
		for _, t := range d.made {
			t.CloseIdleConnections()
		}
		d.mu.Unlock()
	}
}

// maxHints bounds an upstream's informational answers to one request.
const maxHints = 16

// noAgent keeps net/http from naming itself where the bottle named nobody.
var noAgent = []string{""}

// forward sends the request upstream and the answer back. Redirects are the client's business.
func (x *exchange) forward() {
	defer x.record() // also when the answer breaks off, which panics
	out := x.outgoing()
	if out.Body != nil {
		// Whoever still reads it stops when the answer is complete.
		defer func() { _ = out.Body.Close() }()
	}
	if err := x.sign(out); err != nil {
		x.broken(err)
		return
	}
	res, err := x.send(out)
	if err != nil {
		x.broken(err)
		return
	}
	lane, _ := res.Body.(*laneBody) // below what looks into it
	if err := x.answered(res); err != nil {
		_ = res.Body.Close() // it is not wanted
		x.broken(err)
		return
	}
	if x.upgrade && res.StatusCode == http.StatusSwitchingProtocols {
		x.webSocket(out, res)
		return
	}
	x.answer(res, lane)
}

// outgoing makes the request that goes upstream: to the judged host and port or the route's
// upstream, the path exactly as it was judged, without what is about the bottle's own connection,
// and with the route's credential in the place of the bottle's.
func (x *exchange) outgoing() *http.Request {
	in := x.r
	u := *in.URL
	u.User = nil
	if up := x.e.roads[x.route].upstream; up != nil {
		u.Scheme, u.Host = up.Scheme, up.Host
	} else {
		standard := uint16(80)
		u.Scheme, u.Host = "http", x.host
		if x.tls {
			u.Scheme, standard = "https", 443
		}
		if x.port != standard || isAddr(x.host) {
			u.Host = net.JoinHostPort(x.host, strconv.Itoa(int(x.port)))
		}
	}
	out := &http.Request{Method: in.Method, URL: &u, ProtoMajor: 1, ProtoMinor: 1, Header: outgoingHeader(in.Header), ContentLength: in.ContentLength}
	if x.upgrade {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
		if ws.Offer(out.Header) && x.overwrites() {
			out.Header.Del("Sec-Websocket-Extensions")
		}
	}
	if in.Body != nil && in.Body != http.NoBody {
		// Trailers are filled in, in place, when the body ends.
		out.Body, out.Trailer = &countedBody{in.Body, &x.out}, in.Trailer
		if in.ContentLength < 0 {
			out.Body = &spending{out.Body, x}
		}
		if in.ProtoMajor == 1 {
			// Clients that talk and listen at once are served so; an old writer can't, and needn't.
			_ = http.NewResponseController(x.w).EnableFullDuplex()
		}
	}
	x.e.creds.inject(out.Header, x.route)
	return out
}

// outgoingHeader copies a request's header without what is about the connection it came on, and
// without the words that proxies before us would have added.
func outgoingHeader(in http.Header) http.Header {
	out := make(http.Header, len(in)+1)
	for name, values := range in {
		switch name {
		case "Http2-Settings", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Host":
		case "Te":
			if hasToken(values, "trailers") {
				out[name] = []string{"trailers"}
			}
		default:
			if !hop(name) {
				out[name] = values
			}
		}
	}
	if out["User-Agent"] == nil {
		out["User-Agent"] = noAgent
	}
	return out
}

// hop reports whether a header is about one connection only: RFC 9110 section 7.6.1.
func hop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// send makes the round trip on the route's road, in the version the bottle asked in.
func (x *exchange) send(out *http.Request) (*http.Response, error) {
	d := x.e.roads[x.route]
	hints := 0
	hint := func(code int, header http.Header) error {
		if hints++; hints > maxHints {
			return errors.New("it sends informational answers and no other")
		}
		if code == http.StatusContinue || !x.r.ProtoAtLeast(1, 1) {
			return nil // reading the body asks the bottle to go on
		}
		h := x.w.Header()
		x.copyHeader(h, header)
		x.w.WriteHeader(code)
		clear(h)
		return nil
	}
	if x.plainest(out) {
		if l := d.lane(out.URL.Scheme, out.URL.Host); l != nil {
			res, c, err := l.roundTrip(x.r.Context(), out, hint)
			if c != nil {
				x.addr = c.addr
			}
			return res, err
		}
	}
	var (
		mu   sync.Mutex
		done bool
	)
	ctx := httptrace.WithClientTrace(x.r.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { x.addr = addrText(info.Conn.RemoteAddr()) },
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			if done {
				return nil
			}
			return hint(code, http.Header(header))
		},
	})
	t := d.http2
	if x.r.ProtoMajor == 1 {
		t = d.http1
	}
	res, err := t().RoundTrip(out.WithContext(ctx))
	mu.Lock()
	done = true // the writer is the handler's own again
	mu.Unlock()
	return res, err
}

// answered looks at an upstream's final header before the bottle does.
func (x *exchange) answered(res *http.Response) error {
	x.status = res.StatusCode
	if res.StatusCode == http.StatusSwitchingProtocols && !x.upgrade {
		return errors.New("it changed to another protocol, which nobody asked for")
	}
	if err := x.clean(res); err != nil {
		return err
	}
	if res.Header.Get("Content-Encoding") == "" {
		x.meter = usage.NewParser(usage.Answer{Path: x.path, ContentType: res.Header.Get("Content-Type"), Status: res.StatusCode})
		res.Body = usage.Tap(res.Body, x.meter)
	}
	return nil
}

// copyHeader copies an upstream's header or trailer to the bottle's, cleaned.
func (x *exchange) copyHeader(to, from http.Header) {
	for name, values := range from {
		if x.passes(name) {
			to[name] = values
		}
	}
	if x.route.Auth != nil {
		x.e.scrub.header(to)
	}
}

// passes reports whether a header of an upstream's is for the bottle. An offer to go on over QUIC
// could not be taken up, since no UDP leaves a bottle; only the engine says that something was
// denied.
func (x *exchange) passes(name string) bool {
	return !hop(name) && name != "Alt-Svc" && name != deniedHeader
}

// answer sends an upstream's answer to the bottle. What streams (events, bodies of unknown length)
// goes on as it comes. Lane is the body's, if it has one.
func (x *exchange) answer(res *http.Response, lane *laneBody) {
	defer func() { _ = res.Body.Close() }() // it was read, or is not wanted
	h := x.w.Header()
	x.copyHeader(h, res.Header)
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // there is none, and net/http is not to guess one
	}
	announced := make([]string, 0, len(res.Trailer))
	for name := range res.Trailer {
		if x.passes(name) {
			announced = append(announced, name)
		}
	}
	if len(announced) > 0 {
		h["Trailer"] = announced
	}
	x.w.WriteHeader(res.StatusCode)
	flush := func() {}
	if res.ContentLength < 0 || strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") || len(announced) > 0 {
		flush = func() { _ = http.NewResponseController(x.w).Flush() } // a client that left fails the write
	}
	if res.ContentLength != 0 {
		if res.ContentLength < 0 {
			flush() // the header need not wait for the first of the body
		}
		x.copyBody(res.Body, lane, flush)
	}
	if len(res.Trailer) > 0 {
		late := make(http.Header, len(res.Trailer))
		x.copyHeader(late, res.Trailer)
		for name, values := range late {
			if !slices.Contains(announced, name) {
				name = http.TrailerPrefix + name
			}
			h[name] = values
		}
		flush() // trailers need chunks
	}
}

// copyBody copies an answer's body. One that breaks off must not look complete. Records of it that
// came together go on together: they are gathered while more is there, and written before more has to
// be waited for.
func (x *exchange) copyBody(body io.Reader, lane *laneBody, flush func()) {
	buf := x.e.buffers.get()
	defer x.e.buffers.put(buf)
	f := x.f
	together := lane != nil && f.tls
	if together {
		lane.beforeWaiting(func() { _ = f.gather.send(f.socket) }) // the next write has the error
		defer func() { _ = f.gather.send(f.socket) }()             // it broke off, or nothing waits
	}
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			if together {
				f.gather.more(err == nil && lane.pending())
			}
			w, werr := x.w.Write((*buf)[:n])
			x.in.n.Add(int64(w))
			if werr != nil {
				panic(http.ErrAbortHandler) // the bottle left
			}
			flush()
		}
		switch {
		case err == io.EOF: // and no other: an answer that broke off must not look complete
			if together && f.gather.send(f.socket) != nil {
				panic(http.ErrAbortHandler) // the bottle left
			}
			return
		case err != nil:
			if fault := x.f.cut.Load(); fault != nil {
				x.verdict = faultVerdict(fault) // the request's body was malformed further down
			}
			x.halted(err)
			panic(http.ErrAbortHandler) // the upstream left, or was left
		}
	}
}

// broken ends an exchange whose upstream could not be used, whose bottle left, or whose body turned
// out to be malformed.
func (x *exchange) broken(err error) {
	switch {
	case x.halted(err):
		x.told(x.verdict, http.StatusForbidden)
	case x.f.cut.Load() != nil:
		fault := x.f.cut.Load()
		x.told(faultVerdict(fault), fault.Status)
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
