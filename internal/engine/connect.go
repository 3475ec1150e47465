package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"
	"golang.org/x/sync/errgroup"
)

// connectLimit bounds Connect.
const connectLimit = 10 * time.Second

// errSlow is the cause of a context that connectLimit ended.
var errSlow = errors.New("no answer in time")

// Engine is a container engine that answered. It is safe for concurrent use.
type Engine struct {
	where  Where
	dialer *dialer
	api    *client.Client
	info   Info
}

// Connect reaches the engine at w: it dials, settles the API's version and asks once what the
// engine is. It takes at most 10 seconds. Proxy variables play no part. An error is an *Error, or
// wraps ctx's cause when ctx ended first; then nothing stays open and no process runs.
func Connect(ctx context.Context, w Where) (*Engine, error) { return connect(ctx, w, connectLimit) }

func connect(ctx context.Context, w Where, limit time.Duration) (*Engine, error) {
	d, err := newDialer(w)
	if err != nil {
		return nil, err
	}
	api, err := newClient(d)
	if err != nil {
		return nil, fmt.Errorf("container engine at %s: %w", w, err)
	}
	e := &Engine{where: w, dialer: d, api: api}
	bounded, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	if err := e.ask(bounded); err != nil {
		err = d.explain(bounded, err, limit)
		return nil, errors.Join(err, e.Close())
	}
	d.settle()
	return e, nil
}

// newClient makes the API client over d's connections.
func newClient(d *dialer) (*client.Client, error) {
	host := d.addr.String()
	if d.addr.scheme == "ssh" {
		host = "tcp://" + client.DummyHost // goes into the Host header, as with a socket
	}
	return client.New(client.WithHost(host), client.WithHTTPClient(&http.Client{
		CheckRedirect: client.CheckRedirect,
		Transport: &http.Transport{
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) },
			DisableCompression: true,
			MaxIdleConns:       6,
			IdleConnTimeout:    30 * time.Second,
		},
	}))
}

// ask finds out what the engine is.
func (e *Engine) ask(ctx context.Context) error {
	bad := func(r Reason, hint, format string, a ...any) error {
		return &Error{Reason: r, Where: e.where, text: fmt.Sprintf(format, a...), hint: hint}
	}
	ping, err := e.api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	spoken := ping.APIVersion != "" && strings.Trim(ping.APIVersion, "0123456789.") == ""
	switch {
	case spoken && versions.LessThan(ping.APIVersion, client.MinAPIVersion):
		return bad(TooOld, "update it, to Docker Engine 19.03 or Podman 4 at least",
			"it speaks version %s of the Docker API, at least %s is needed", ping.APIVersion, client.MinAPIVersion)
	case err != nil:
		return err
	case !spoken:
		return bad(NotEngine, "is it the address of a container engine? See: docker context ls", "something answers there that is no container engine")
	}
	// At the same time: an engine takes its milliseconds for either.
	var info client.SystemInfoResult
	var version client.ServerVersionResult
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		info, err = e.api.Info(bothCtx, client.InfoOptions{})
		return err
	})
	both.Go(func() (err error) {
		version, err = e.api.ServerVersion(bothCtx, client.ServerVersionOptions{})
		return err
	})
	if err := both.Wait(); err != nil {
		return err
	}
	e.info = describe(ping, info.Info, version)
	e.info.APIVersion = e.api.ClientVersion()
	if v := podmanVersion(version.Components); v != "" {
		own, err := e.askPodman(ctx, v)
		if err != nil {
			return err
		}
		e.info.podman(own)
	}
	if e.info.OS != "linux" {
		return bad(NotLinux, "switch Docker Desktop to Linux containers, or choose another engine: docker context use NAME",
			"it runs containers of %q, bottles need Linux", inert.Text(e.info.OS, 32))
	}
	e.info.settle(e.dialer.addr, info.Info)
	return nil
}

// explain turns what came of an attempt to connect into words. bounded is the attempt's context.
func (d *dialer) explain(bounded context.Context, err error, limit time.Duration) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e // without the HTTP client's words around it
	}
	if failed := d.failed(); failed != nil {
		return failed
	}
	op, _ := errors.AsType[*net.OpError](err)
	alert := op != nil && op.Op == "remote error" // so crypto/tls names what the other side refused
	cut := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	text := err.Error()
	switch cause := context.Cause(bounded); {
	case errors.Is(cause, errSlow):
		return &Error{
			Reason: NoAnswer, Where: d.where, text: fmt.Sprintf("no answer within %v", limit),
			hint: "is it hanging? Ask it by hand: docker version",
		}
	case cause != nil:
		return fmt.Errorf("container engine at %s: %w", d.where, cause)
	case alert, d.tls != nil && cut, d.tls == nil && strings.Contains(text, "HTTP request to an HTTPS server"):
		// An engine that takes our certificate for none tells so after the handshake, or hangs up.
		return tlsError(d.where, text)
	}
	return &Error{
		Reason: NotEngine, Where: d.where, text: "it does not answer as a container engine does: " + inert.Text(text, 0),
		hint: "is it the address of a container engine? Ask it by hand: docker version",
	}
}

// API is the client of the Docker Engine API, its version settled. Its errors wrap an *Error where
// a connection could not be made; such an engine may come back.
func (e *Engine) API() client.APIClient { return e.api }

// Info is what the engine was when it was connected to.
func (e *Engine) Info() Info { return e.info }

// Where is what Connect was given.
func (e *Engine) Where() Where { return e.where }

// Close ends the connections that nobody uses, and on an engine reached by ssh all of them, so
// that no ssh process is left. Whoever attached to something is to be done before.
func (e *Engine) Close() error {
	err := e.api.Close()
	e.dialer.close()
	return err
}
