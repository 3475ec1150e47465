package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// server serves one listener. Its HTTP side is one http.Server for everything: plain connections
// and terminated ones reach it through handed, and each request finds its flow in its context.
type server struct {
	e      *Engine
	ctx    context.Context // ends with Serve; the base of every request's
	http   *http.Server
	tls    *tls.Config
	handed chan net.Conn
	local  net.Addr

	wg    sync.WaitGroup // goroutines, open sockets and requests at work
	mu    sync.Mutex
	open  map[*socket]struct{}
	ended bool
}

// flowKey finds a request's flow in its context.
type flowKey struct{}

// serve accepts from l, gives each connection to handle in a goroutine of its own, and returns
// when everything has ended.
func (e *Engine) serve(ctx context.Context, l net.Listener, handle func(*server, *socket)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{e: e, ctx: ctx, handed: make(chan net.Conn), local: l.Addr(), tls: e.tlsConfig(), open: make(map[*socket]struct{})}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: e.cfg.Limits.First,
		IdleTimeout:       e.cfg.Limits.Idle,
		MaxHeaderBytes:    e.cfg.Limits.HeaderBytes,
		Protocols:         protocols,
		// Windows are small because the other end is on this machine: they bound memory, not speed.
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          128,
			MaxReceiveBufferPerStream:     128 << 10,
			MaxReceiveBufferPerConnection: 512 << 10,
		},
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, flowKey{}, flowOf(c))
		},
		ErrorLog: slog.NewLogLogger(e.cfg.Logger.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close() // the accept loop sees it closed; there is nobody else to tell
	})
	defer stop()
	var inner sync.WaitGroup
	inner.Go(func() { _ = s.http.Serve((*handedListener)(s)) }) // ends with ctx, by our own Close
	err := s.accept(ctx, l, handle)
	cancel()
	_ = l.Close() // closing twice is the only way it fails
	// First the sockets: TLS would wait to say goodbye to a program that reads nothing.
	s.closeAll()
	_ = s.http.Close() // the sockets are closed, which is all it could fail at
	inner.Wait()
	s.wg.Wait()
	e.roads.closeIdle()
	return err
}

func (s *server) accept(ctx context.Context, l net.Listener, handle func(*server, *socket)) error {
	var pause time.Duration
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close() // it came too late
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil // the bottle ended, and its listeners with it
		}
		if err != nil {
			// Running out of file descriptors passes; a listener that is broken for good does not.
			if pause = max(2*pause, 5*time.Millisecond); pause > 2*time.Second {
				return fmt.Errorf("egress: accept: %w", err)
			}
			s.e.cfg.Logger.Warn("accept", "err", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
			continue
		}
		pause = 0
		sock, ok := s.admit(c)
		if !ok {
			_ = c.Close() // refused: the bottle holds as many connections as it may
			s.e.cfg.Record(audit.Event{Kind: audit.KindConnect, Verdict: "deny", Why: "too many connections at once from this bottle"})
			continue
		}
		s.wg.Go(func() { handle(s, sock) })
	}
}

// begin counts a request as at work, unless everything ends.
func (s *server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.wg.Add(1)
	return true
}

// socket is a connection from the bottle. It is counted while it is open.
type socket struct {
	net.Conn
	s    *server
	once sync.Once
}

func (s *server) admit(c net.Conn) (*socket, bool) {
	if s.e.conns.Add(1) > int64(s.e.cfg.Limits.Conns) {
		s.e.conns.Add(-1)
		return nil, false
	}
	sock := &socket{Conn: c, s: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		s.e.conns.Add(-1)
		return nil, false
	}
	s.open[sock] = struct{}{}
	s.wg.Add(1)
	return sock, true
}

// Close closes the connection and gives its place back, once.
func (k *socket) Close() error {
	err := net.ErrClosed
	k.once.Do(func() {
		err = k.Conn.Close()
		k.s.mu.Lock()
		delete(k.s.open, k)
		k.s.mu.Unlock()
		k.s.e.conns.Add(-1)
		k.s.wg.Done()
	})
	return err
}

func (s *server) closeAll() {
	s.mu.Lock()
	s.ended = true
	open := make([]*socket, 0, len(s.open))
	for k := range s.open {
		open = append(open, k)
	}
	s.mu.Unlock()
	for _, k := range open {
		_ = k.Close() // the end was wanted
	}
}

// hand gives a connection to the HTTP side, which closes it.
func (s *server) hand(c net.Conn) {
	select {
	case s.handed <- c:
	case <-s.ctx.Done():
		_ = c.Close() // everything ends
	}
}

// handedListener is the HTTP side's listener: it yields what hand is given.
type handedListener server

func (l *handedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.handed:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *handedListener) Close() error   { return nil }
func (l *handedListener) Addr() net.Addr { return l.local }
