package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// extensionECH is an encrypted ClientHello's number among the extensions: RFC 9849.
const extensionECH = 0xfe0d

// unrecognizedName is the TLS alert record, fatal, for a name that is not served here: RFC 6066
// section 3.
var unrecognizedName = []byte{0x15, 3, 3, 0, 2, 2, 112}

// passThrough carries TLS as it is to the one host its ClientHello may name. It owns f.
//
// An encrypted ClientHello is refused here, where nobody reads what is inside: its outer name says
// nothing about who is meant. (Some browsers send one filled with noise to everybody, which can't be
// told from a real one; they have no business with a pinned host. Where TLS is terminated nothing
// need be refused: we have no key for the inner ClientHello, serve the outer one, whose name was
// checked, and a client that meant the inner one sees that it was not taken up and gives up.)
func (s *server) passThrough(f *flow) {
	_ = f.SetDeadline(time.Now().Add(s.e.cfg.Limits.First)) // a dead socket fails the read below
	hello, err := readHello(f)
	why := ""
	switch {
	case err != nil:
		why = "the TLS handshake failed"
	case f.checkSNI(hello.ServerName) != nil:
		why = f.mismatch()
	case slices.Contains(hello.Extensions, extensionECH):
		why = "an encrypted ClientHello hides whom it is for, and is not passed through uninspected"
	}
	if why != "" {
		_, _ = f.Write(unrecognizedName) // a client that left does not read it
		_ = f.Close()
		s.e.recordFlow(f, policy.Verdict{Rule: f.opaque.ID, Why: why, Ask: "# nothing: name the connection's host in the handshake\n"})
		return
	}
	_ = f.SetDeadline(time.Time{}) // as above
	s.splice(f)
}

// mismatch says what is wrong with a ClientHello that checkSNI did not like.
func (f *flow) mismatch() string {
	return "sni mismatch: the TLS handshake names another host than the connection is for (" + f.host + "), or none"
}

// errHello ends a handshake of which only the ClientHello is wanted.
var errHello = errors.New("the ClientHello was read")

// readHello reads a ClientHello, in as many records and reads as it comes in, with crypto/tls's own
// parser and bound, and puts what it read back in f's front.
func readHello(f *flow) (*tls.ClientHelloInfo, error) {
	var got *tls.ClientHelloInfo
	tap := &helloConn{flow: f}
	err := tls.Server(tap, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		got = h
		return nil, errHello
	}}).Handshake()
	f.front = append(tap.read, f.front...)
	if got == nil {
		return nil, err
	}
	return got, nil
}

// helloConn keeps what is read from a flow and answers nothing.
type helloConn struct {
	*flow
	read []byte
}

func (c *helloConn) Read(p []byte) (int, error) {
	n, err := c.flow.Read(p)
	c.read = append(c.read, p[:n]...)
	return n, err
}

func (c *helloConn) Write(p []byte) (int, error) { return len(p), nil }

// splice carries a flow as it is, over an address the dial guard let pass, until both sides are
// done or one breaks, and records that nobody looked. It owns f.
func (s *server) splice(f *flow) {
	d := s.e.roads[f.opaque]
	ctx, cancel := context.WithTimeout(s.ctx, s.e.cfg.Limits.Life)
	defer cancel()
	up, err := d.dial(ctx, "tcp", d.address(f.host, f.port))
	if err != nil {
		_ = f.Close() // there is no common protocol to say more in
		s.e.recordUnreached(f, err)
		return
	}
	var out, in atomic.Int64
	stop := context.AfterFunc(ctx, func() {
		_ = f.Close() // the copies below see it
		_ = up.Close()
	})
	defer stop()
	last := new(atomic.Int64)
	last.Store(time.Now().UnixNano())
	copying := func(dst, src net.Conn, n *atomic.Int64, may func(int) error) error {
		err := s.e.copyIdle(dst, src, n, last, may)
		if err == nil {
			_ = closeWrite(dst) // one that can't is closed below
			return nil
		}
		_ = f.Close() // one way broke: the other has nobody to talk to
		_ = up.Close()
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = copying(f, up, &in, func(int) error { return nil }) }) // its end is nobody's fault
	ev := s.e.spliced(f)
	err = copying(up, f, &out, func(n int) error {
		v, found, over := s.e.spend(f.opaque, int64(n))
		if found.Kind != "" {
			ev.Findings = append(ev.Findings, found)
		}
		if over {
			return &deniedError{v}
		}
		return nil
	})
	wg.Wait()
	_ = f.Close() // both ways are done
	_ = up.Close()
	if d, ok := errors.AsType[*deniedError](err); ok {
		ev.Verdict, ev.Why = word(d.verdict), d.verdict.Why
	}
	ev.Addr, ev.BytesOut, ev.BytesIn, ev.Millis = addrText(up.RemoteAddr()), out.Load(), in.Load(), millis(f.start)
	s.e.cfg.Record(ev)
}

// copyIdle copies until src ends, which is no error, or either breaks, or may refuses to let so many bytes
// go on, or neither way has carried anything for Limits.Silence; last is when one did, in Unix nanoseconds.
func (e *Engine) copyIdle(dst, src net.Conn, n, last *atomic.Int64, may func(int) error) error {
	buf := e.buffers.get()
	defer e.buffers.put(buf)
	silence := e.cfg.Limits.Silence
	for {
		_ = src.SetReadDeadline(time.Unix(0, last.Load()).Add(silence)) // a dead socket fails the read
		r, err := src.Read(*buf)
		if r > 0 {
			if err := may(r); err != nil {
				return err
			}
			last.Store(time.Now().UnixNano())
			_ = dst.SetWriteDeadline(time.Now().Add(silence)) // as above
			w, werr := dst.Write((*buf)[:r])
			n.Add(int64(w))
			if werr != nil {
				return werr
			}
			last.Store(time.Now().UnixNano())
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, last.Load())) < silence:
			// The other way was busy.
		default:
			return err
		}
	}
}

func closeWrite(c net.Conn) error {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// address is what a road dials for a host and port: them, or its upstream.
func (d *road) address(host string, port uint16) string {
	if d.upstream == nil {
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	if d.upstream.Port() != "" {
		return d.upstream.Host
	}
	if d.upstream.Scheme == "https" {
		return net.JoinHostPort(d.upstream.Hostname(), "443")
	}
	return net.JoinHostPort(d.upstream.Hostname(), "80")
}

// spliced is the event of an uninspected connection.
func (e *Engine) spliced(f *flow) audit.Event {
	kind := "TLS"
	if f.opaque.TCP {
		kind = "TCP"
	}
	return audit.Event{
		Kind: audit.KindConnect, Via: f.via, Verdict: "allow", Rule: f.opaque.ID,
		Why:  "rule " + f.opaque.ID + " allows it: " + kind + " as it is, uninspected",
		Host: e.safe(f.host), Port: f.port, Millis: millis(f.start),
	}
}

// recordUnreached records an uninspected connection whose upstream was refused by the dial guard,
// or failed.
func (e *Engine) recordUnreached(f *flow, err error) {
	if d, ok := errors.AsType[*deniedError](err); ok {
		e.recordFlow(f, d.verdict)
		return
	}
	ev := e.spliced(f)
	ev.Status = http.StatusBadGateway
	ev.Why = e.safe(ev.Why + "; " + reason(err))
	e.cfg.Record(ev)
}

// addrText is an address without its port.
func addrText(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.IP.String()
	}
	return ""
}
