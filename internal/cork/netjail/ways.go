//go:build linux

package netjail

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Ways makes of a jail's sockets, in the order of Sockets.Files, the listeners that the egress
// engine serves. It may be called in any network namespace. The files stay the caller's.
func Ways(sockets []*os.File) (w wire.Ways, err error) {
	if len(sockets) < 3 {
		return w, fmt.Errorf("cork handed out %d sockets, at least 3 are needed", len(sockets))
	}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if w.Proxy, err = net.FileListener(sockets[0]); err != nil {
		return w, fmt.Errorf("proxy socket: %w", err)
	}
	if w.DNS, err = net.FilePacketConn(sockets[1]); err != nil {
		return w, fmt.Errorf("DNS socket: %w", err)
	}
	var parts []*net.TCPListener
	for _, f := range sockets[2:] {
		l, err := net.FileListener(f)
		if err != nil {
			return w, errors.Join(fmt.Errorf("listening socket: %w", err), closeParts(parts))
		}
		parts = append(parts, l.(*net.TCPListener))
	}
	w.Any = newAnyListener(parts)
	return w, nil
}

// anyListener is several listeners as one. Its connections know where they wanted to go.
type anyListener struct {
	parts []*net.TCPListener
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
	loops sync.WaitGroup
}

func newAnyListener(parts []*net.TCPListener) *anyListener {
	l := &anyListener{parts: parts, conns: make(chan net.Conn), done: make(chan struct{})}
	for _, p := range parts {
		l.loops.Go(func() {
			for {
				c, err := p.AcceptTCP()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					continue // the connection was given up before it was taken
				}
				select {
				case l.conns <- &anyConn{c, Destination(c)}:
				case <-l.done:
					_ = c.Close() // nobody will take it
				}
			}
		})
	}
	return l
}

// Accept implements net.Listener.
func (l *anyListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; it waits until nothing is accepted any more.
func (l *anyListener) Close() error {
	l.close.Do(func() { close(l.done) })
	err := closeParts(l.parts)
	l.loops.Wait()
	return err
}

// Addr implements net.Listener. It is one address of several, and says nothing about where
// connections go.
func (l *anyListener) Addr() net.Addr { return l.parts[0].Addr() }

func closeParts(parts []*net.TCPListener) (err error) {
	for _, p := range parts {
		err = errors.Join(err, p.Close())
	}
	return err
}

// anyConn is a connection with its original destination. It has all of TCPConn's methods, so that
// copying to and from it stays in the kernel.
type anyConn struct {
	*net.TCPConn
	destination netip.AddrPort
}

// Destination implements wire.Destined.
func (c *anyConn) Destination() netip.AddrPort { return c.destination }
