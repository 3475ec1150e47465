package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxParked bounds the connections of one lane that wait for a request.
	maxParked = 32
	// maxLanes bounds the lanes of a road: below a wildcard a bottle can name any number of hosts.
	maxLanes = 64
	// laneBuffer is a connection's read buffer, in bytes.
	laneBuffer = 4 << 10
)

// lane is a road's HTTP/1.1 connections to one address for the plainest requests, those without a
// body or with one that is in memory. The handler's own goroutine writes the request, all of it at
// once, and reads the answer. http.Transport, which takes all others, hands both to goroutines of the
// connection, and that costs more than everything else we do with a small request.
type lane struct {
	road   *road
	target string      // host:port to dial
	tls    *tls.Config // nil in the clear
	mu     sync.Mutex
	parked []*laneConn // the most recently used last
	sweep  *time.Timer
}

// laneConn is one connection. It serves one request at a time.
type laneConn struct {
	net.Conn // below TLS, sock
	sock     *laneSocket
	raw      syscall.RawConn // of the socket; nil when it can't be looked at
	lane     *lane
	r        *bufio.Reader
	left     int  // bytes of header that may still be read; negative for no bound
	broken   bool // the request was not written to its end
	since    time.Time
	addr     string
	stop     func() bool // of the watch over the current request's context
}

// laneSocket is the socket of a connection.
type laneSocket struct {
	net.Conn
	ahead ahead
	wait  func() // called before a read that may have to wait; nil for nothing
	wrote bool   // some of the current request
}

func (s *laneSocket) Read(p []byte) (int, error) { return s.ahead.read(s.Conn, p, s.wait) }

func (s *laneSocket) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if n > 0 {
		s.wrote = true
	}
	return n, err
}

// lane returns the lane for a scheme and an authority as a URL has them; nil when there are too many.
func (d *road) lane(scheme, host string) *lane {
	key := scheme + "://" + host
	if l, ok := d.lanes.Load(key); ok {
		return l.(*lane)
	}
	if d.laneCount.Load() >= maxLanes {
		return nil
	}
	l := &lane{road: d, target: host}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
		port := "80"
		if scheme == "https" {
			port = "443"
		}
		l.target = net.JoinHostPort(name, port)
	}
	if scheme == "https" {
		l.tls = d.tlsConfig()
		l.tls.ServerName, l.tls.NextProtos = name, []string{"http/1.1"}
	}
	got, had := d.lanes.LoadOrStore(key, l)
	if !had {
		d.laneCount.Add(1)
	}
	return got.(*lane)
}

// roundTrip sends a request and reads its answer's header; hint takes the informational ones. The
// connection goes back to the lane when the answer's body was read to its end.
//
// No request reaches an upstream twice, except one that may be repeated (RFC 9110 section 9.2.2). A
// parked connection that turns out to have ended is replaced by a new one when nothing of the request
// was written, or nothing of an answer came and it may be repeated.
func (l *lane) roundTrip(ctx context.Context, out *http.Request, hint func(int, http.Header) error) (*http.Response, *laneConn, error) {
	raw := requests.Get().(*bytes.Buffer)
	defer requests.Put(raw)
	raw.Reset()
	if err := compose(raw, out); err != nil {
		return nil, nil, err
	}
	for {
		c, fresh := l.take(), false
		if c == nil {
			var err error
			if c, err = l.open(ctx); err != nil {
				return nil, nil, err
			}
			fresh = true
		}
		res, err := c.ask(ctx, out, raw.Bytes(), hint)
		if err == nil {
			return res, c, nil
		}
		c.discard()
		if fresh || !errors.Is(err, errStale) || ctx.Err() != nil {
			return nil, c, err
		}
	}
}

// errStale is a parked connection that had ended, on which nothing came of the request.
var errStale = errors.New("the connection ended before an answer")

func (c *laneConn) ask(ctx context.Context, out *http.Request, raw []byte, hint func(int, http.Header) error) (*http.Response, error) {
	c.stop = context.AfterFunc(ctx, func() { _ = c.Close() }) // the read below sees it
	keep := false
	defer func() {
		if !keep {
			c.stop()
		}
	}()
	_ = c.SetDeadline(time.Now().Add(c.lane.road.e.cfg.Limits.Answer)) // a dead socket fails the write below
	c.sock.wrote = false
	_, werr := c.Write(raw)
	switch {
	case werr != nil && (!c.sock.wrote || repeatable(out)):
		return nil, fmt.Errorf("%w: %w", errStale, werr)
	case werr != nil:
		c.broken = true // it may have said before why it did not want all of the request
	}
	c.left = maxAnswerHeader
	if _, err := c.r.Peek(1); err != nil {
		if werr != nil {
			err = werr
		}
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return nil, err
		}
		if !repeatable(out) {
			return nil, fmt.Errorf("the connection ended before an answer: %w", err)
		}
		return nil, fmt.Errorf("%w: %w", errStale, err)
	}
	for {
		res, err := http.ReadResponse(c.r, out)
		if err != nil {
			return nil, err
		}
		switch {
		case res.StatusCode == http.StatusSwitchingProtocols || res.ProtoMajor != 1:
			return nil, errors.New("it changed to another protocol, which nobody asked for")
		case res.StatusCode < 200:
			if err := hint(res.StatusCode, res.Header); err != nil {
				return nil, err
			}
			continue
		}
		c.left = -1
		_ = c.SetDeadline(time.Time{}) // a dead socket fails the next read
		keep = true
		body := &laneBody{c: c, body: res.Body, res: res}
		if res.Body == http.NoBody {
			body.finish()
		}
		res.Body = body
		return res, nil
	}
}

// Read bounds what may be read of a header.
func (c *laneConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, fmt.Errorf("its header is longer than %d bytes", maxAnswerHeader)
	}
	if c.left > 0 {
		p = p[:min(len(p), c.left)]
	}
	n, err := c.Conn.Read(p)
	if c.left > 0 {
		c.left -= n
	}
	return n, err
}

// laneBody is an answer's body. Read to its end, it gives its connection back.
type laneBody struct {
	c    *laneConn
	body io.ReadCloser
	res  *http.Response
	done bool
}

func (b *laneBody) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	n, err := b.body.Read(p)
	if err == io.EOF {
		b.finish()
	} else if err != nil {
		_ = b.Close() // it broke off
	}
	return n, err
}

// Close ends the connection of a body that was not read to its end.
func (b *laneBody) Close() error {
	if !b.done {
		b.done = true
		b.c.stop()
		b.c.discard()
	}
	return nil
}

// pending reports whether the next of the body need not be waited for.
func (b *laneBody) pending() bool { return !b.done && b.c.sock.ahead.pending() }

// beforeWaiting has f called before a read of the body that may have to wait.
func (b *laneBody) beforeWaiting(f func()) {
	if !b.done {
		b.c.sock.wait = f
	}
}

// finish parks the connection, where the upstream means to keep it.
func (b *laneBody) finish() {
	b.done = true
	c := b.c
	c.sock.wait = nil
	if !c.stop() || b.res.Close || !b.res.ProtoAtLeast(1, 1) || c.broken || c.r.Buffered() > 0 || c.sock.ahead.pending() || !c.lane.park(c) {
		c.discard() // it has ended, or there are enough
	}
}

// discard closes a connection that is of no more use. Nobody may be reading it.
func (c *laneConn) discard() {
	_ = c.Close()
	c.sock.ahead.drop()
}

// take returns a parked connection, or nil.
func (l *lane) take() *laneConn {
	for {
		l.mu.Lock()
		n := len(l.parked)
		if n == 0 {
			l.mu.Unlock()
			return nil
		}
		c := l.parked[n-1]
		l.parked[n-1] = nil
		l.parked = l.parked[:n-1]
		l.mu.Unlock()
		if c.quiet() {
			return c
		}
		c.discard() // it ended, or speaks without having been asked
	}
}

// park keeps a connection for the next request.
func (l *lane) park(c *laneConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.raw == nil || len(l.parked) >= maxParked {
		return false
	}
	c.since = time.Now()
	l.parked = append(l.parked, c)
	if l.sweep == nil {
		l.sweep = time.AfterFunc(l.road.e.cfg.Limits.Idle, l.expire)
	}
	return true
}

// expire closes what was parked for too long.
func (l *lane) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	idle := l.road.e.cfg.Limits.Idle
	old := 0
	for old < len(l.parked) && time.Since(l.parked[old].since) >= idle {
		_ = l.parked[old].Close() // its time is up
		old++
	}
	l.parked = append(l.parked[:0], l.parked[old:]...)
	if l.sweep = nil; len(l.parked) > 0 {
		l.sweep = time.AfterFunc(idle-time.Since(l.parked[0].since), l.expire)
	}
}

// close closes the parked connections.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.parked {
		_ = c.Close() // everything ends
	}
	l.parked = nil
	if l.sweep != nil {
		l.sweep.Stop()
		l.sweep = nil
	}
}

// open dials a new connection.
func (l *lane) open(ctx context.Context) (*laneConn, error) {
	c, err := l.road.dial(ctx, "tcp", l.target)
	if err != nil {
		return nil, err
	}
	sock := &laneSocket{Conn: c, ahead: ahead{wide: &l.road.e.buffers.wide}}
	k := &laneConn{Conn: sock, sock: sock, lane: l, left: -1, addr: addrText(c.RemoteAddr())}
	if s, ok := c.(syscall.Conn); ok {
		k.raw, _ = s.SyscallConn() // without it the connection serves once
	}
	if l.tls != nil {
		t := tls.Client(sock, l.tls)
		ctx, cancel := context.WithTimeout(ctx, tlsUpstream)
		defer cancel()
		if err := t.HandshakeContext(ctx); err != nil {
			k.discard() // it never came up
			return nil, err
		}
		k.Conn = t
	}
	k.r = bufio.NewReaderSize(k, laneBuffer)
	return k, nil
}

// quiet reports whether a parked connection has nothing to read: an end, or an answer to a question
// nobody asked, which must not become the next one's.
func (c *laneConn) quiet() bool {
	quiet := false
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	if err != nil || !quiet {
		return false
	}
	if c.lane.tls == nil {
		return true
	}
	// Nor in a record that came together with the last answer. With its time up, a read takes what is
	// there and asks the socket for nothing.
	_ = c.SetReadDeadline(time.Unix(1, 0)) // a dead socket fails the read
	_, err = c.r.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}
