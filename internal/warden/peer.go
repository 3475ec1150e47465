package warden

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
)

// ownListener accepts connections of the same user (and of root, whom nothing keeps out anyway),
// and so many at once. The socket's and its folder's modes say the same; this holds even where
// somebody loosened them.
type ownListener struct {
	*net.UnixListener
	log   *slog.Logger
	slots chan struct{}
}

// Accept implements net.Listener.
func (l *ownListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err != nil || uid != os.Geteuid() && uid != 0 {
			l.log.Warn("refused a control connection", "uid", uid, "err", err)
			_ = c.Close() // it was never used
			continue
		}
		select {
		case l.slots <- struct{}{}:
			return &slotConn{UnixConn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			l.log.Warn("too many control connections")
			_ = c.Close() // it was never used
		}
	}
}

// slotConn gives its place up when it is closed.
type slotConn struct {
	*net.UnixConn
	free func()
}

// Close implements net.Conn.
func (c *slotConn) Close() error {
	defer c.free()
	return c.UnixConn.Close()
}

// peerUID returns the user who connected.
func peerUID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var uid uint32
	var credErr error
	err = raw.Control(func(fd uintptr) { uid, credErr = credOf(int(fd)) })
	if err := errors.Join(err, credErr); err != nil {
		return -1, err
	}
	return int(uid), nil
}
