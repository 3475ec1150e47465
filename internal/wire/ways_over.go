package wire

import (
	"net"
	"net/netip"
	"sync"
)

// AnyHeader is the header of a KindAny stream.
type AnyHeader struct {
	To netip.AddrPort `json:"to"`
}

// waysBacklog is how many connections wait to be accepted, each way.
const waysBacklog = 128

// WaysOver returns the ways out of a bottle as streams of its wire, for backends that can't hand
// the sockets themselves out. The other side runs ServeWays.
func WaysOver(s *Session) Ways {
	proxy, anyway := newStreamListener(s, KindProxy), newStreamListener(s, KindAny)
	s.Handle(KindProxy, func(st *Stream) { proxy.offer(st) })
	s.Handle(KindAny, func(st *Stream) {
		var h AnyHeader
		if err := st.Header(&h); err != nil || !h.To.IsValid() {
			st.Reset("a connection without a destination")
			return
		}
		anyway.offer(destined{st, netip.AddrPortFrom(h.To.Addr().Unmap(), h.To.Port())})
	})
	dns := newDatagrams(s)
	s.Handle(KindDNS, dns.attach)
	return Ways{Proxy: proxy, Any: anyway, DNS: dns}
}

// destined is a connection that knows where it was meant to go.
type destined struct {
	*Stream
	to netip.AddrPort
}

func (d destined) Destination() netip.AddrPort { return d.to }

// LocalAddr is the address dialled, as on a socket that took the connection in.
func (d destined) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(d.to) }

// streamListener is a net.Listener over streams of one kind.
type streamListener struct {
	s      *Session
	kind   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newStreamListener(s *Session, kind string) *streamListener {
	return &streamListener{s: s, kind: kind, conns: make(chan net.Conn, waysBacklog), closed: make(chan struct{})}
}

func (l *streamListener) offer(c net.Conn) {
	select {
	case <-l.closed:
	default:
		select {
		case l.conns <- c:
			return
		default: // as a socket's full backlog
		}
	}
	_ = c.Close() // it was not taken; there is nobody to tell
}

func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.s.Done():
		select {
		case <-l.closed:
			return nil, net.ErrClosed
		default:
			return nil, l.s.Err()
		}
	}
}

func (l *streamListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *streamListener) Addr() net.Addr { return streamAddr{l.s.side, l.kind, 0} }
