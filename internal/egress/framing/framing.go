// Package framing reads HTTP/1 as strictly as it is written down. It stands between a connection
// and a server that is more lenient (net/http takes bare line feeds, chunk extensions, a length
// beside chunks) and lets through only requests that have one reading, so that two parsers can't
// disagree about where one ends or whom it is for. It keeps to RFC 9112 and is narrower where the
// RFC leaves a choice: what no client needs is refused.
//
//	c := framing.NewConn(raw, 64<<10, func(f *framing.Fault, whole bool) []byte { return instead })
//
// A request whose fault is seen before any of it was passed on is replaced as a whole. A fault
// further down a body can only end the connection: the body is then never complete for anybody.
package framing

import (
	"io"
	"net"
)

// Fault is why a request is not passed on.
type Fault struct {
	Status int    // what to answer: 400, 431 or 505
	Why    string // a clause in plain words; nothing the client sent is in it
}

func (f *Fault) Error() string { return "malformed request: " + f.Why }

// maxDrained is how much of what follows a fault is read and dropped, in bytes: closing with bytes
// unread would reset the connection, and the answer with it.
const maxDrained = 256 << 10

// Conn is a connection of which only well-framed requests can be read. Reads must not overlap, as
// net/http's don't; everything else goes to the connection below.
type Conn struct {
	net.Conn
	refuse func(f *Fault, whole bool) []byte
	m      machine

	// buf is read and not yet delivered: ready bytes may go, the rest waits for its line or head to
	// be complete. done bytes were looked at; start is where the current request begins, or -1 when
	// some of it is gone.
	buf         []byte
	ready, done int
	start       int
	fault       *Fault
	replaced    bool // by what refuse said
	drained     int
}

// NewConn wraps c. A head may have limit bytes. refuse is told of the one fault a connection can
// have, during a Read. When the whole request can still be kept back, it returns the bytes to read in
// its place, a request that the caller knows again; the connection ends after it.
func NewConn(c net.Conn, limit int, refuse func(f *Fault, whole bool) []byte) *Conn {
	return &Conn{Conn: c, refuse: refuse, m: machine{limit: limit}}
}

// Raw ends the checking: what follows is another protocol's, to be read from the connection below.
// It returns what was read from that and delivered to nobody. It must not overlap a Read.
func (c *Conn) Raw() []byte {
	rest := c.buf
	c.buf, c.ready = nil, 0
	return rest
}

// CloseWrite closes the writing half, where the connection below can.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Read yields requests that were found to be well framed. In the middle of one that is not, the
// error is a *Fault.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.ready > 0 {
			return c.deliver(p), nil
		}
		if c.fault != nil {
			return 0, c.end(p)
		}
		n, err := c.Conn.Read(p)
		if n == 0 {
			return 0, err
		}
		// An error that came along with bytes comes again.
		if len(c.buf) > 0 {
			c.buf = append(c.buf, p[:n]...)
			c.ready = c.check(c.buf)
			continue
		}
		// The usual case: a whole request in one read, checked where it lies.
		pass := c.check(p[:n])
		if c.fault == nil && pass < n {
			c.buf = append(c.buf, p[pass:n]...)
		}
		c.gone(pass)
		if pass > 0 {
			return pass, nil
		}
	}
}

// deliver copies out what may go.
func (c *Conn) deliver(p []byte) int {
	n := copy(p, c.buf[:c.ready])
	if c.buf = c.buf[n:]; len(c.buf) == 0 {
		c.buf = nil // an idle connection holds none
	}
	c.ready -= n
	c.gone(n)
	return n
}

// gone moves the marks down by n bytes that left.
func (c *Conn) gone(n int) {
	c.done = max(0, c.done-n)
	c.start = max(-1, c.start-n)
}

// check looks at b, of which done bytes were looked at already, and returns how many of them may
// go. On a fault, buf is what follows those.
func (c *Conn) check(b []byte) int {
	pass := c.ready
	for c.done < len(b) {
		n, fault := c.m.step(b[c.done:])
		if fault != nil {
			return c.fail(b, fault)
		}
		if n == 0 {
			break // a line that has not ended
		}
		c.done += n
		if c.m.state == atLine {
			c.start = c.done
		}
		if c.m.state != atField {
			pass = c.done
		}
		if c.m.state == atTunnel {
			c.done, pass = len(b), len(b)
		}
	}
	return pass
}

// fail puts what refuse says in the place of the request that begins at start, if none of it is
// gone, and returns how many bytes before it may still go.
func (c *Conn) fail(b []byte, fault *Fault) int {
	c.fault = fault
	keep := c.done
	if c.replaced = c.start >= 0; c.replaced {
		keep = c.start
	}
	instead := c.refuse(fault, c.replaced)
	if len(c.buf) == 0 {
		c.buf, c.ready = instead, len(instead)
		return keep
	}
	c.buf = append(b[:keep:keep], instead...)
	return len(c.buf)
}

// end is what a connection reads as after a fault.
func (c *Conn) end(p []byte) error {
	if !c.replaced {
		return c.fault
	}
	for c.drained < maxDrained {
		n, err := c.Conn.Read(p)
		if err != nil {
			return err
		}
		c.drained += n
	}
	return io.EOF
}
