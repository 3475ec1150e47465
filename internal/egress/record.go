package egress

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// Bounds on text that goes into events and denials.
const (
	maxHostText = 256
	maxPathText = 1024
)

func word(v policy.Verdict) string {
	if v.Allowed() {
		return "allow"
	}
	return "deny"
}

func quote(s string) string { return `"` + inert.Text(s, 160) + `"` }

// safe makes text of the bottle fit for an event: secrets cut out, inert, bounded.
func (e *Engine) safe(s string) string { return inert.Text(e.scrub.text(s), maxHostText) }

// recordFlow records a connection that ended before any request.
func (e *Engine) recordFlow(f *flow, v policy.Verdict) {
	alarm := e.alarmName(f.host)
	ev := audit.Event{
		Kind: audit.KindConnect, Via: f.via, Findings: findings(alarm),
		Verdict: "deny", Rule: v.Rule, Why: e.hush(v.Why),
		Host: e.hush(e.safe(f.host)), Port: f.port, Millis: millis(f.start),
	}
	if alarm.HideHost {
		ev.Host, ev.Why = hidden, hiddenName
	}
	if f.bare.IsValid() {
		ev.Addr = f.bare.Addr().String()
	}
	e.cfg.Record(ev)
}

// record records the exchange.
func (x *exchange) record() {
	x.inspected()
	host, path := x.shown()
	ev := audit.Event{
		Kind: audit.KindRequest, Via: x.via, Findings: x.findings,
		Verdict: word(x.verdict), Rule: x.verdict.Rule, Why: x.e.scrub.text(x.verdict.Why),
		Host: host, Addr: x.addr, Port: x.port,
		Method: x.method, Path: path, Status: x.status,
		BytesOut: x.out.n.Load(), BytesIn: x.in.n.Load(), Millis: millis(x.start),
	}
	if x.via == audit.ViaConnect && x.method == http.MethodConnect {
		ev.Kind = audit.KindConnect
	}
	if x.f.bare.IsValid() {
		ev.Addr = x.f.bare.Addr().String()
	}
	if u, ok := x.meter.Usage(); ok {
		tokens(&ev, u)
	}
	x.e.cfg.Record(ev)
}

// recordAnswer records what one of a model's answers on a WebSocket took.
func (x *exchange) recordAnswer(u usage.Usage) {
	host, path := x.shown()
	ev := audit.Event{
		Kind: audit.KindRequest, Via: x.via, Verdict: word(x.verdict), Rule: x.verdict.Rule,
		Host: host, Port: x.port, Method: x.method, Path: path,
	}
	tokens(&ev, u)
	x.e.cfg.Record(ev)
}

func tokens(ev *audit.Event, u usage.Usage) {
	ev.Model = u.Model
	ev.TokensIn, ev.TokensOut, ev.TokensReasoning = u.Input, u.Output, u.Reasoning
	ev.TokensCacheRead, ev.TokensCacheWrite, ev.TokensCacheWrite1h = u.CacheRead, u.CacheWrite, u.CacheWrite1h
}

func millis(since time.Time) float64 {
	return float64(time.Since(since).Microseconds()) / 1000
}

// scrubber cuts the known credentials out of text, in the spellings they come in.
type scrubber struct{ known []string }

const cut = "[redacted]"

func newScrubber(secrets map[string]secret.Value) scrubber {
	var s scrubber
	seen := make(map[string]bool)
	for _, v := range secrets {
		raw := v.Reveal()
		for _, form := range []string{
			raw, strings.ToLower(raw), url.PathEscape(raw), url.QueryEscape(raw),
			base64.StdEncoding.EncodeToString([]byte(raw)), base64.RawURLEncoding.EncodeToString([]byte(raw)),
		} {
			if raw != "" && !seen[form] {
				seen[form] = true
				s.known = append(s.known, form)
			}
		}
	}
	return s
}

// text returns t without credentials.
func (s scrubber) text(t string) string {
	for _, k := range s.known {
		if strings.Contains(t, k) {
			t = strings.ReplaceAll(t, k, cut)
		}
	}
	return t
}

// path returns an escaped path for an event. An escaping that hides a credential from text is
// undone first.
func (s scrubber) path(p string) string {
	if len(s.known) > 0 && strings.IndexByte(p, '%') >= 0 {
		if plain, err := url.PathUnescape(p); err != nil || s.text(plain) != plain {
			p = plain
		}
	}
	return inert.Text(s.text(p), maxPathText)
}

// header cuts credentials out of every value of h.
func (s scrubber) header(h http.Header) {
	for name, values := range h {
		for i, v := range values {
			if clean := s.text(v); clean != v {
				h[name][i] = clean
			}
		}
	}
}

// counter counts bytes. Both directions of a connection may be at work at once.
type counter struct{ n atomic.Int64 }

// countedBody counts a request's body.
type countedBody struct {
	io.ReadCloser
	c *counter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.n.Add(int64(n))
	return n, err
}

// answerWriter notes what of the engine's own goes back to the bottle.
type answerWriter struct {
	http.ResponseWriter
	x *exchange
}

func (w *answerWriter) WriteHeader(status int) {
	w.x.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.x.in.n.Add(int64(n))
	return n, err
}

// countedConn counts a WebSocket's bytes. What was read ahead of it comes first.
type countedConn struct {
	net.Conn
	x     *exchange
	front []byte
}

func (c *countedConn) Read(p []byte) (int, error) {
	if len(c.front) > 0 {
		n := copy(p, c.front)
		c.front = c.front[n:]
		c.x.out.n.Add(int64(n))
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.x.out.n.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.x.in.n.Add(int64(n))
	return n, err
}
