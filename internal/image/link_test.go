package image_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// link is a way to an engine that can be cut.
type link struct {
	path     string
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	gone     bool
	wg       sync.WaitGroup
}

// between opens a socket that leads to the engine's at path.
func between(t *testing.T, path string) *link {
	t.Helper()
	dir, err := os.MkdirTemp("", "link") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	l := &link{path: filepath.Join(dir, "s")}
	if l.listener, err = net.Listen("unix", l.path); err != nil {
		t.Fatal(err)
	}
	l.wg.Go(func() {
		for {
			near, err := l.listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", path)
			if err != nil || !l.take(near, far) {
				_ = near.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				l.wg.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].(*net.UnixConn).CloseWrite()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.cut()
		l.wg.Wait()
		_ = os.RemoveAll(dir)
	})
	return l
}

func (l *link) take(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, conns...)
	return !l.gone
}

// cut ends everything, as an engine that dies does.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	_ = l.listener.Close()
	for _, c := range l.conns {
		_ = c.Close()
	}
}
