package selftest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// maxContacts bounds what is remembered of one bait: the first already decides.
const maxContacts = 8

// listener is one bait that talks: it tells the nonce to whoever connects and remembers who.
type listener struct {
	bait   net.Listener
	name   string
	answer []byte

	wg    sync.WaitGroup
	mu    sync.Mutex
	armed bool // contacts count from now on
	who   []string
	conns map[net.Conn]struct{}
	done  bool
}

// serve answers on l until close.
func (b *Bait) serve(l net.Listener, name string) {
	s := &listener{
		bait: l,
		name: name,
		answer: fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			len(b.req.HostNonce), b.req.HostNonce),
		conns: map[net.Conn]struct{}{},
	}
	b.listeners = append(b.listeners, s)
	s.wg.Go(s.accept)
}

func (l *listener) accept() {
	for {
		c, err := l.bait.Accept()
		if err != nil {
			return // closed; a bait that broke otherwise is found by prove
		}
		if !l.note(c) {
			_ = c.Close() // we are closing
			return
		}
		l.wg.Go(func() { l.tell(c) })
	}
}

// note remembers a contact; false means that the bait is being closed.
func (l *listener) note(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return false
	}
	l.conns[c] = struct{}{}
	if l.armed && len(l.who) < maxContacts {
		from := "somebody"
		if a := c.RemoteAddr(); a != nil && a.String() != "" && a.String() != "@" {
			from = a.String()
		}
		l.who = append(l.who, l.name+" from "+from)
	}
	return true
}

// tell answers before it is asked: a prober that only listens learns the nonce too.
func (l *listener) tell(c net.Conn) {
	defer func() {
		_ = c.Close() // it was told; how it ends is of no interest
		l.mu.Lock()
		delete(l.conns, c)
		l.mu.Unlock()
	}()
	_ = c.SetDeadline(time.Now().Add(proofTime)) // without one, close ends it
	if _, err := c.Write(l.answer); err != nil {
		return
	}
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite() // the Close above makes up for it
	}
	// What was sent is read, or the kernel would reset the connection and take the answer back.
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 64<<10))
}

func (l *listener) contacts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.who...)
}

func (l *listener) close() {
	l.mu.Lock()
	l.done = true
	for c := range l.conns {
		_ = c.Close() // interrupts tell
	}
	l.mu.Unlock()
	_ = l.bait.Close() // closing twice is the only way it fails
	l.wg.Wait()
}

// prove contacts every bait from the host, then arms them all.
func (b *Bait) prove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	for _, l := range b.listeners {
		if err := l.bites(ctx, []byte(b.req.HostNonce)); err != nil {
			return fmt.Errorf("the bait on %s is dead, so that its silence would prove nothing: %w", l.name, err)
		}
	}
	for _, path := range b.req.HostFiles {
		got, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(got)) != b.req.HostNonce {
			err = errors.New("it holds something else")
		}
		if err != nil {
			return fmt.Errorf("the bait file is dead: %w", err)
		}
	}
	for _, l := range b.listeners {
		l.mu.Lock()
		l.armed = true
		l.mu.Unlock()
	}
	return nil
}

func (l *listener) bites(ctx context.Context, nonce []byte) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, l.bait.Addr().Network(), l.name)
	if err != nil {
		return err
	}
	defer c.Close() // it was heard out
	if t, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(t) // the dial just worked, so does this
	}
	got, err := io.ReadAll(io.LimitReader(c, 4096))
	if err != nil {
		return err
	}
	if !bytes.Contains(got, nonce) {
		return errors.New("it answers something else")
	}
	return nil
}
