package state

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
)

// ListenSocket listens on the unix socket at path, however long the path is: the kernel takes
// about a hundred bytes, a deep $HOME has more. A socket left by a dead process is replaced, so
// the caller must hold the folder's Lock. The socket's mode is 0600 from its first moment on as
// long as its folder is private.
func ListenSocket(path string) (*net.UnixListener, error) {
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := os.Remove(short); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// The short name may mean something else by the time of Close: the owner removes by path.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(short, 0o600); err != nil {
		_ = l.Close() // the first error is the one to tell
		return nil, err
	}
	return l, nil
}

// DialSocket connects to the unix socket at path, however long the path is.
func DialSocket(ctx context.Context, path string) (net.Conn, error) {
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	return d.DialContext(ctx, "unix", short)
}
