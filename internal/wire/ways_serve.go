package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// maxAskers is how many datagrams' senders cork remembers; who waits longer than that many
// questions asks again.
const maxAskers = 4096

// ServeWays carries what arrives at a bottle's ways out to the other side of the wire, which runs
// WaysOver. It is cork's. Connections of anyway go where they say they do, by Destined, or else to
// their local address, which is what it is behind an any-IP route. The three are closed when it
// returns, which is when ctx or the session ends or one of them fails.
func ServeWays(ctx context.Context, s *Session, proxy, anyway net.Listener, dns net.PacketConn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	run := func(what string, f func() error) {
		group.Go(func() { cancel(fmt.Errorf("%s: %w", what, f())) })
	}
	run("proxy", func() error { return forward(ctx, s, proxy, &group, KindProxy, nil) })
	run("connections", func() error { return forward(ctx, s, anyway, &group, KindAny, destination) })
	run("datagrams", func() error { return forwardDatagrams(ctx, s, dns) })
	select {
	case <-ctx.Done():
	case <-s.Done():
		cancel(s.Err())
	}
	Ways{Proxy: proxy, Any: anyway, DNS: dns}.Close()
	group.Wait()
	return fmt.Errorf("serve the ways out: %w", context.Cause(ctx))
}

func destination(c net.Conn) (AnyHeader, error) {
	if d, ok := c.(Destined); ok {
		return AnyHeader{d.Destination()}, nil
	}
	to, err := netip.ParseAddrPort(c.LocalAddr().String())
	return AnyHeader{to}, err
}

// forward opens a stream for each connection. While no more streams may be open it accepts none:
// they wait in the socket's backlog.
func forward(ctx context.Context, s *Session, l net.Listener, group *sync.WaitGroup, kind string, header func(net.Conn) (AnyHeader, error)) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		var h any
		if header != nil {
			to, err := header(c)
			if err != nil {
				_ = c.Close() // a connection that can't tell where it goes goes nowhere
				continue
			}
			h = to
		}
		st, err := s.Open(ctx, kind, h)
		if err != nil {
			_ = c.Close() // the session's end is the error to tell
			return err
		}
		group.Go(func() { splice(ctx, c, st) })
	}
}

// splice copies both ways until both have ended or one failed.
func splice(ctx context.Context, c net.Conn, st *Stream) {
	defer c.Close()
	defer st.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = c.Close() // unblocks the copies; splice reports nothing
		st.Reset("the bottle is closing")
	})
	defer stop()
	var out sync.WaitGroup
	out.Go(func() {
		switch _, err := io.Copy(st, c); {
		case err == nil:
			_ = st.CloseWrite() // fails only when the stream has ended, and then the other copy ends
		case errors.Is(err, io.ErrClosedPipe):
			// The other side reads no more. What it said before may not have been read yet.
		default:
			st.Reset("the connection broke")
		}
	})
	if _, err := io.Copy(c, st); err != nil {
		_ = c.Close() // no half answer may look like a whole one
	} else if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // as above
	}
	out.Wait()
}

func forwardDatagrams(ctx context.Context, s *Session, dns net.PacketConn) error {
	st, err := s.Open(ctx, KindDNS, nil)
	if err != nil {
		return err
	}
	defer st.Close()
	askers := &askers{}
	var answers sync.WaitGroup
	defer answers.Wait()
	defer st.Close() // before waiting
	answers.Go(func() {
		buf := make([]byte, maxDatagram)
		for {
			n, size, err := readDatagram(st, buf)
			if err != nil {
				_ = dns.Close() // ends the questions too
				return
			}
			if to := askers.find(n); to != nil {
				_, _ = dns.WriteTo(buf[:size], to) // datagrams may be lost; the asker asks again
			}
		}
	})
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := dns.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := st.Write(appendDatagram(nil, askers.add(from), buf[:n])); err != nil {
			return err
		}
	}
}

// askers remembers who sent the last maxAskers datagrams.
type askers struct {
	mu   sync.Mutex
	next uint32
	ring [maxAskers]net.Addr
}

func (a *askers) add(from net.Addr) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.next
	a.next++
	a.ring[n%maxAskers] = from
	return n
}

// find returns the sender number n, or nil when it is forgotten or never was.
func (a *askers) find(n uint32) net.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next-n > maxAskers || n == a.next {
		return nil
	}
	return a.ring[n%maxAskers]
}
