// Package egress is a bottle's way out: an engine that serves plain listeners and decides about
// every name, connection and request that comes in on them. It knows nothing of namespaces or
// containers; give it any listeners and it works alone:
//
//	e, err := egress.New(egress.Config{Policy: p, Authority: a, Record: log.Append})
//	err = e.Serve(ctx, wire.Ways{Proxy: proxy, Any: any, DNS: dns})
//
// What comes in takes one road. A listener's connection becomes a flow (socks.go, proxy.go, any.go:
// who is meant, and by which way), its first byte says TLS or HTTP (flow.go), TLS is terminated
// with a leaf of the bottle's authority (tls.go), HTTP/1 is checked to have one reading (strict.go),
// and from there every request, whatever its way and version, meets the same handler (exchange.go),
// which asks the policy, handles the credential (credential.go) and forwards (forward.go, lane.go,
// websocket.go) over addresses the dial guard let pass (guard.go). Only what a rule declares to be
// uninspected leaves the road early and is carried as it is (splice.go).
//
// Denials are told in words (deny.go): a request gets 403 with a body that says what was denied,
// why, and what to ask the operator for. A CONNECT is denied at CONNECT, with the same body and
// with the reason on the status line, where most clients show it; SOCKS has only a code to say it
// with. No name is resolved before an allowed request needs dialling.
package egress

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress/authority"
	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Config is what an Engine works with. Policy and Authority are obligatory.
type Config struct {
	Policy    *policy.Policy
	Authority *authority.Authority
	// Secrets are the credentials by policy.Auth.Ref; every Ref of the policy must be there.
	Secrets map[string]secret.Value
	// Record takes the audit events. It is called from many goroutines and must not block. Nil
	// drops them.
	Record func(audit.Event)
	// Inspector looks into what passes; nil looks into nothing.
	Inspector *inspect.Inspector
	Control   Control
	// Roots verify upstreams that have no CA of their own; nil means the host's.
	Roots *x509.CertPool
	// Resolve looks a name up; nil means the host's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to an address the guard let pass; nil means a net.Dialer.
	Dial   func(ctx context.Context, network string, addr netip.AddrPort) (net.Conn, error)
	Limits Limits
	// Logger tells the operator about the engine's own troubles; nil discards.
	Logger *slog.Logger
}

// Control names the host the engine answers itself, on every way and never upstream. It serves
// GET /nonce, which proves to the self-test that a way works, and GET /policy, the route table
// without values. An empty Host switches it off.
type Control struct {
	Host  string
	Nonce string
}

// Limits bound what a bottle can take of the warden. Zero fields mean the defaults.
type Limits struct {
	Conns       int           // connections from the bottle at once; 1024
	Requests    int           // requests being served at once; 512
	HeaderBytes int           // a request's header; 64 KiB
	Sniff       time.Duration // from accept to the first byte of a connection that is to be refused; 3 s
	First       time.Duration // to the first byte, a SOCKS or TLS handshake, a request's header; 30 s
	Idle        time.Duration // a kept-alive connection, either side; 2 min
	Dial        time.Duration // to connect to an upstream, all its addresses together; 15 s
	Answer      time.Duration // from a request sent to the first byte of its answer; 15 min
	Silence     time.Duration // an uninspected connection on which neither side says anything; 1 h
	Life        time.Duration // an uninspected connection, from its beginning; 24 h
}

func (l *Limits) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if l.Conns <= 0 {
		l.Conns = 1024
	}
	if l.Requests <= 0 {
		l.Requests = 512
	}
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = 64 << 10
	}
	set(&l.Sniff, 3*time.Second)
	set(&l.First, 30*time.Second)
	set(&l.Idle, 2*time.Minute)
	set(&l.Dial, 15*time.Second)
	set(&l.Answer, 15*time.Minute)
	set(&l.Silence, time.Hour)
	set(&l.Life, 24*time.Hour)
}

// Engine decides and forwards. It is safe for concurrent use.
type Engine struct {
	cfg     Config
	control string // canonical; empty when there is none
	names   *names
	creds   credentials
	scrub   scrubber
	roads   roads
	spent   map[*policy.Route]*spent
	refusal string // the method of a request that stands for one nobody may see
	buffers buffers

	conns    atomic.Int64
	requests atomic.Int64
	signing  atomic.Int64 // bytes of bodies kept to be signed
}

// New checks cfg and makes an Engine. It opens nothing.
func New(cfg Config) (*Engine, error) {
	if cfg.Policy == nil || cfg.Authority == nil {
		return nil, errors.New("egress: a policy and an authority are needed")
	}
	cfg.Limits.defaults()
	if cfg.Record == nil {
		cfg.Record = func(audit.Event) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if cfg.Dial == nil {
		d := &net.Dialer{}
		cfg.Dial = func(ctx context.Context, network string, addr netip.AddrPort) (net.Conn, error) {
			return d.DialContext(ctx, network, addr.String())
		}
	}
	e := &Engine{cfg: cfg, names: newNames(wire.NamePool(false)), scrub: newScrubber(cfg.Secrets)}
	if cfg.Control.Host != "" {
		name, err := policy.Canonical(cfg.Control.Host)
		if err != nil {
			return nil, fmt.Errorf("egress: control %w", err)
		}
		e.control = name
	}
	var err error
	if e.creds, err = newCredentials(cfg.Policy, cfg.Secrets); err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	if e.roads, err = e.newRoads(); err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	e.spent = make(map[*policy.Route]*spent)
	for i := range cfg.Policy.Routes() {
		e.spent[&cfg.Policy.Routes()[i]] = new(spent)
	}
	e.refusal = rand.Text()
	return e, nil
}

// Serve serves all three ways until ctx ends or one of them fails, closes them, and returns when
// nothing it started runs any more. The end of ctx is no error.
func (e *Engine) Serve(ctx context.Context, ways wire.Ways) error {
	if ways.Narrow {
		e.names = newNames(wire.NamePool(true)) // nothing has asked yet
	}
	g, ctx := errgroup.WithContext(ctx)
	if ways.Proxy != nil {
		g.Go(func() error { return e.ServeProxy(ctx, ways.Proxy) })
	}
	if ways.Any != nil {
		g.Go(func() error { return e.ServeAny(ctx, ways.Any) })
	}
	if ways.DNS != nil {
		g.Go(func() error { return e.ServeDNS(ctx, ways.DNS) })
	}
	return g.Wait()
}

// ServeProxy serves an explicit proxy's port: HTTP, CONNECT and SOCKS5h. It closes l.
func (e *Engine) ServeProxy(ctx context.Context, l net.Listener) error {
	return e.serve(ctx, l, (*server).proxyConn)
}

// ServeAny serves connections that were dialled to some address outside and caught; they implement
// wire.Destined. It closes l.
func (e *Engine) ServeAny(ctx context.Context, l net.Listener) error {
	return e.serve(ctx, l, (*server).anyConn)
}
