//go:build linux

package probe_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/claude-bottle/claude-bottle/internal/cork/netjail"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/egress/authority"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// serve seals the network and runs the real engine over it, with the holes the order asks for.
func serve(o order) (stop func(), err error) {
	sockets, err := netjail.Seal()
	if err != nil {
		return nil, err
	}
	if err := openHoles(o); err != nil {
		return nil, err
	}
	if o.leaks("no-engine") {
		sockets.Close()
		return func() {}, nil
	}
	ways, err := waysOf(o, sockets)
	if err != nil {
		return nil, err
	}
	engine, err := newEngine(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = engine.Serve(ctx, ways) }) // what it serves is what the test looks at
	return func() { cancel(); wg.Wait() }, nil
}

func newEngine(o order) (*egress.Engine, error) {
	var routes []policy.Route
	add := func(name string) error {
		h, err := policy.ParseHost(name)
		routes = append(routes, policy.Route{ID: "leak", Host: h, Plain: true})
		return err
	}
	if o.leaks("listed") {
		if err := add(o.Request.Unlisted); err != nil {
			return nil, err
		}
	}
	if o.leaks("subtree") {
		if err := add("*." + o.Request.ControlHost); err != nil {
			return nil, err
		}
	}
	compiled, err := policy.Compile(routes)
	if err != nil {
		return nil, err
	}
	ca, err := authority.New(time.Now())
	if err != nil {
		return nil, err
	}
	return egress.New(egress.Config{
		Policy: compiled, Authority: ca,
		Control: egress.Control{Host: o.Request.ControlHost, Nonce: o.Request.Nonce},
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		},
		Dial: func(context.Context, string, netip.AddrPort) (net.Conn, error) {
			near, far := net.Pipe()
			go hello(far)
			return near, nil
		},
	})
}

// waysOf makes listeners of the jail's sockets; hole makers sit between them and the engine.
func waysOf(o order, s netjail.Sockets) (wire.Ways, error) {
	defer s.Close()
	proxy, err := net.FileListener(s.Proxy)
	if err != nil {
		return wire.Ways{}, err
	}
	dns, err := net.FilePacketConn(s.DNS)
	if err != nil {
		return wire.Ways{}, err
	}
	anyWay := &merged{conns: make(chan net.Conn), done: make(chan struct{}), o: o}
	for _, f := range s.Any {
		l, err := net.FileListener(f)
		if err != nil {
			return wire.Ways{}, err
		}
		anyWay.listeners = append(anyWay.listeners, l)
		go anyWay.accept(l)
	}
	return wire.Ways{Proxy: &inward{Listener: proxy, o: o}, Any: anyWay, DNS: dns}, nil
}

// merged yields the connections of several listeners with their destinations.
type merged struct {
	o         order
	listeners []net.Listener
	conns     chan net.Conn
	done      chan struct{}
	once      sync.Once
}

type destined struct {
	*net.TCPConn
	to netip.AddrPort
}

func (d destined) Destination() netip.AddrPort { return d.to }

func (m *merged) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		tcp := c.(*net.TCPConn)
		d := destined{tcp, netjail.Destination(tcp)}
		if m.o.leaks("open-way") && !netip.MustParsePrefix("198.18.0.0/15").Contains(d.to.Addr()) {
			go hello(c)
			continue
		}
		select {
		case m.conns <- d:
		case <-m.done:
			_ = c.Close()
		}
	}
}

func (m *merged) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *merged) Close() error {
	m.once.Do(func() {
		close(m.done)
		for _, l := range m.listeners {
			_ = l.Close()
		}
	})
	return nil
}

func (m *merged) Addr() net.Addr { return m.listeners[0].Addr() }

// inward is a proxy that, if told to leak, dials the host's loopback for whoever asks.
type inward struct {
	net.Listener
	o order
}

func (l *inward) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || !l.o.leaks("proxy-dials-host") {
			return c, err
		}
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		if !bytes.HasPrefix(buf[:n], []byte("GET http://127.0.0.1")) {
			return &peeked{Conn: c, front: buf[:n]}, nil
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(l.o.Request.HostNonce), l.o.Request.HostNonce)
		_ = c.Close()
	}
}

type peeked struct {
	net.Conn
	front []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.front) > 0 {
		n := copy(b, p.front)
		p.front = p.front[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// hello is a stranger outside.
func hello(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 4096)
	if _, err := c.Read(buf); err != nil {
		return
	}
	_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
}

// openHoles opens what needs a socket or a device in the bottle's network.
func openHoles(o order) error {
	if o.leaks("host-net") {
		for _, to := range o.Request.HostTCP {
			if !strings.HasPrefix(to, "127.") {
				continue
			}
			l, err := net.Listen("tcp", to)
			if err != nil {
				return err
			}
			go answer(l, o.Request.HostNonce)
		}
		l, err := net.Listen("unix", o.Request.HostUnix[len(o.Request.HostUnix)-1])
		if err != nil {
			return err
		}
		go answer(l, o.Request.HostNonce)
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0"}); err != nil {
			return fmt.Errorf("veth: %w", err)
		}
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	}
	if o.leaks("udp") {
		for _, port := range []int{123, 443} {
			c, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
			if err != nil {
				return err
			}
			go func() {
				buf := make([]byte, 2048)
				for {
					_, from, err := c.ReadFrom(buf)
					if err != nil {
						return
					}
					_, _ = c.WriteTo([]byte("hello"), from)
				}
			}()
		}
	}
	return nil
}

// answer tells every caller the nonce.
func answer(l net.Listener, nonce string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n" + nonce))
		_ = c.Close()
	}
}
