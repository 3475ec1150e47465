package egress

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress/framing"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// flow is a connection of which is known whom it is meant for.
type flow struct {
	*socket
	s     *server
	front []byte // read from the socket and not yet by the flow's reader
	start time.Time

	via audit.Via
	// host is the canonical name or address the connection is for. It is empty on the proxy port
	// before CONNECT: there each request names its own.
	host string
	port uint16
	tls  bool // terminated: requests on it are https
	// bare is the address a program dialled without having asked for a name.
	bare netip.AddrPort
	// denied, when set, is the answer to everything on this flow.
	denied *policy.Verdict
	// fault is what is wrong with the request that ends the flow's HTTP; cut, when some of that
	// request was already served.
	fault, cut atomic.Pointer[framing.Fault]
	// opaque, when set, is the rule that carries the flow uninspected.
	opaque *policy.Route

	// Once TLS is terminated, what carries much is read and written in larger pieces than records.
	ahead  ahead
	gather gather
}

// Read yields what was peeked first.
func (f *flow) Read(p []byte) (int, error) {
	if len(f.front) > 0 {
		n := copy(p, f.front)
		f.front = f.front[n:]
		if len(f.front) == 0 {
			f.front = nil
		}
		return n, nil
	}
	if !f.tls {
		return f.socket.Read(p) // it may yet become another flow, which wants to read all of the rest
	}
	return f.ahead.read(f.socket, p, nil)
}

// Write writes what TLS has sealed, or keeps it for what comes after it.
func (f *flow) Write(p []byte) (int, error) {
	if !f.tls {
		return f.socket.Write(p)
	}
	return f.gather.write(f.socket, p)
}

// Close closes the connection.
func (f *flow) Close() error {
	err := f.socket.Close()
	f.ahead.drop()
	return err
}

// CloseWrite closes the writing half, where the connection below can.
func (f *flow) CloseWrite() error { return closeWrite(f.Conn) }

// peek returns the first byte without consuming it, waiting for at most d.
func (f *flow) peek(d time.Duration) (byte, error) {
	if len(f.front) > 0 {
		return f.front[0], nil
	}
	_ = f.SetReadDeadline(time.Now().Add(d)) // a closed socket says so on the read below
	var b [1]byte
	if _, err := f.socket.Read(b[:]); err != nil {
		return 0, err
	}
	_ = f.SetReadDeadline(time.Time{}) // as above
	f.front = b[:]
	return b[0], nil
}

// flowOf finds the flow below a connection of the HTTP side.
func flowOf(c net.Conn) *flow {
	if g, ok := c.(*framing.Conn); ok {
		c = g.Conn
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	f, _ := c.(*flow)
	return f
}

const tlsHandshake = 0x16

// carry looks at a flow's first byte and hands it on: TLS is terminated, HTTP served, everything
// else closed and recorded. Raw TCP is carried without waiting for a byte, since there the server
// may be the one to speak first. It owns f.
func (s *server) carry(f *flow) {
	if f.opaque != nil && f.opaque.TCP {
		s.splice(f)
		return
	}
	wait := s.e.cfg.Limits.First
	if f.denied != nil {
		wait = s.e.cfg.Limits.Sniff
		if f.port == 22 && f.via == audit.ViaTransparent {
			s.refuseSSH(f)
			return
		}
	}
	first, err := f.peek(wait)
	switch {
	case err != nil:
		if f.denied != nil {
			s.e.recordFlow(f, *f.denied)
		}
		_ = f.Close() // opened and left, or silent for too long: nothing passed
	case first == tlsHandshake && f.opaque != nil:
		s.passThrough(f)
	case first == tlsHandshake:
		s.terminate(f)
	case first >= 'A' && first <= 'Z' || first >= 'a' && first <= 'z':
		s.hand(s.strict(f))
	default:
		s.e.recordFlow(f, f.verdict("the connection speaks neither TLS nor HTTP"))
		_ = f.Close() // there is no protocol to say more in
	}
}

// verdict is why a flow ends before any request: its own denial, or else why.
func (f *flow) verdict(why string) policy.Verdict {
	if f.denied != nil {
		return *f.denied
	}
	return policy.Verdict{Why: why, Ask: "# nothing: only TLS and HTTP pass\n"}
}

// refuseSSH says in SSH's own way, a line before the version string, why the connection ends: a
// client that waits for the server to speak would learn nothing from us waiting too.
func (s *server) refuseSSH(f *flow) {
	s.e.recordFlow(f, *f.denied)
	_ = f.SetWriteDeadline(time.Now().Add(time.Second)) // a dead socket fails the write as well
	line := strings.ReplaceAll("claude-bottle: denied: "+s.e.scrub.text(f.denied.Why), "\n", " ")
	_, _ = f.Write([]byte(line + "\r\n")) // words are a courtesy: the connection ends either way
	_ = f.Close()
}
