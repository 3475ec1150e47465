package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// slack is how long an exchange may hang before the measurement fails.
const slack = 20 * time.Second

// endpoint is one road to the upstream: where to connect, what to say first, what to ask then.
type endpoint struct {
	name string
	addr string // dialled
	// tunnel is the host:port that a proxy is asked for by CONNECT; empty asks for none.
	tunnel string
	tls    *tls.Config // nil speaks in the clear
	// origin stands before a target in a request line, as forward proxies want it.
	origin string
	host   string // the Host header
	proc   *process
}

// client is a connection that is kept alive.
type client struct {
	net.Conn
	r *bufio.Reader
}

// open connects and shakes hands.
func (e endpoint) open(ctx context.Context) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	if c, err = e.secure(ctx, c); err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	return &client{c, bufio.NewReaderSize(c, 16<<10)}, nil
}

// secure makes c what requests can be sent on, or closes it.
func (e endpoint) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	if e.tunnel != "" {
		_ = c.SetDeadline(time.Now().Add(slack)) // a dead socket fails the write
		if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", e.tunnel); err != nil {
			_ = c.Close()
			return nil, err
		}
		// Nothing follows the answer until the handshake begins, so the reader holds none of the tunnel.
		h, err := readHead(bufio.NewReader(c))
		if err == nil && !ok(h) {
			err = fmt.Errorf("CONNECT was answered %q: %w", h.line, errUnexpected)
		}
		if err != nil {
			_ = c.Close()
			return nil, err
		}
		_ = c.SetDeadline(time.Time{})
	}
	if e.tls == nil {
		return c, nil
	}
	t := tls.Client(c, e.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

// ok reports whether h is an answer of status 200, "HTTP/1.1 200 OK".
func ok(h head) bool {
	_, status, _ := strings.Cut(h.line, " ")
	return strings.HasPrefix(status, "200")
}

// request writes a whole request with the header fields that programs send, each line with its end.
func (e endpoint) request(w work) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s HTTP/1.1\r\nHost: %s\r\n%s", w.method, e.origin, w.target, e.host, w.fields)
	if w.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(w.body))
	}
	b.WriteString("\r\n" + w.body)
	return []byte(b.String())
}

// do sends a request and reads its answer, which must be 200.
func (c *client) do(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	h, err := readHead(c.r)
	if err != nil {
		return err
	}
	if !ok(h) {
		text, _ := io.ReadAll(io.LimitReader(c.r, min(h.length, 1<<10))) // words for the error, if there are any
		return fmt.Errorf("answered %q: %s: %w", h.line, text, errUnexpected)
	}
	_, err = skipBody(c.r, h)
	return err
}

// load is how an endpoint is asked.
type load struct {
	conns int
	// rate is requests a second over all connections; 0 asks again as soon as an answer is there.
	rate       int
	warm, span time.Duration
}

// outcome is what one turn of load gave.
type outcome struct {
	latency []time.Duration // ascending
	took    time.Duration
	// CPU time in the measured span: of the load generator, which is this process, of the upstream
	// and of what stands between.
	generator, upstream, between time.Duration
}

func (o outcome) perSecond() float64 { return float64(len(o.latency)) / o.took.Seconds() }

func (o outcome) percentile(p int) time.Duration {
	if len(o.latency) == 0 {
		return 0
	}
	return o.latency[min(len(o.latency)*p/100, len(o.latency)-1)]
}

// each is the CPU time of what stands between, for one request.
func (o outcome) each() time.Duration { return o.between / time.Duration(max(1, len(o.latency))) }

// load is the generator's part of all CPU time spent, 0 to 1.
func (o outcome) load() float64 {
	return float64(o.generator) / float64(max(1, o.generator+o.upstream+o.between))
}

// run opens l's connections and then measures; what is done before l.warm has passed doesn't count.
func (l load) run(ctx context.Context, e endpoint, upstream *process, request []byte) (outcome, error) {
	clients := make([]*client, l.conns)
	defer func() {
		for _, c := range clients {
			if c != nil {
				_ = c.Close() // it has done its duty
			}
		}
	}()
	for i := range clients {
		c, err := e.open(ctx)
		if err != nil {
			return outcome{}, err
		}
		clients[i] = c
		_ = c.SetDeadline(time.Now().Add(l.warm + l.span + slack)) // a dead socket fails the request
	}
	from := time.Now().Add(l.warm)
	g, ctx := errgroup.WithContext(ctx)
	latency := make([][]time.Duration, l.conns)
	for i, c := range clients {
		g.Go(func() (err error) {
			latency[i], err = l.one(ctx, c, request, from, i)
			return err
		})
	}
	var o outcome
	g.Go(func() error {
		time.Sleep(time.Until(from))
		o.count(e, upstream, -1)
		time.Sleep(time.Until(from.Add(l.span)))
		o.count(e, upstream, 1)
		return nil
	})
	if err := g.Wait(); err != nil {
		return outcome{}, fmt.Errorf("%s: %w", e.name, err)
	}
	o.latency, o.took = slices.Concat(latency...), l.span
	slices.Sort(o.latency)
	return o, nil
}

// one asks over one connection, the i-th, until the span from from on has passed.
func (l load) one(ctx context.Context, c *client, request []byte, from time.Time, i int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, 1<<12)
	end := from.Add(l.span)
	var pause time.Duration
	due := time.Now()
	if l.rate > 0 {
		pause = time.Duration(l.conns) * time.Second / time.Duration(l.rate)
		due = due.Add(pause * time.Duration(i) / time.Duration(l.conns)) // connections take turns
	}
	for {
		if pause > 0 {
			time.Sleep(time.Until(due))
		}
		began := time.Now()
		if !began.Before(end) || ctx.Err() != nil {
			return took, ctx.Err()
		}
		// A timer that wakes late is the machine's fault, an answer that came after the next
		// request was due is the contender's: it is counted from when it was due.
		if pause > 0 && began.Sub(due) > pause {
			began = due
		}
		if err := c.do(request); err != nil {
			return nil, err
		}
		if !began.Before(from) {
			took = append(took, time.Since(began))
		}
		due = due.Add(pause)
	}
}

// count adds the processes' CPU time so far to o, or with sign -1 takes it away.
func (o *outcome) count(e endpoint, upstream *process, sign time.Duration) {
	o.generator += sign * ownCPU()
	o.upstream += sign * upstream.cpu()
	if e.proc != nil {
		o.between += sign * e.proc.cpu()
	}
}
