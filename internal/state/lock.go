package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// How a lock is asked for.
const (
	exclusive = unix.LOCK_EX
	shared    = unix.LOCK_SH
	atOnce    = unix.LOCK_NB
)

// lockWait is how long Lock bears with a lister looking at the lock.
const lockWait = 2 * time.Second

// Lock is a warden's hold on its bottle's folder. The kernel releases it when the holder dies,
// however it dies.
type Lock struct{ release func() }

// Release gives the folder up. It is idempotent.
func (l *Lock) Release() {
	if l.release != nil {
		l.release()
		l.release = nil
	}
}

// Lock takes the folder for the calling process until Release or death. When a live warden holds
// it, the error wraps ErrLocked. The lock's descriptor is closed on exec, so no child inherits it.
func (d *Dir) Lock(ctx context.Context) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		release, err := lockFile(d.Path(LockFile), exclusive|atOnce)
		if err == nil {
			return &Lock{release}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock bottle %s: %w", d.id, err)
		}
		// A lister holds the lock for microseconds; a warden for good.
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock bottle %s: %w", d.id, ErrLocked)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// WaitFree waits until no warden holds the folder: until the bottle is dead and, when nothing of it
// was to be kept, gone. The error is ctx's cause. A wait that ctx ended leaves a goroutine behind
// until the holder's end: no call takes back the wait for a lock.
func (d *Dir) WaitFree(ctx context.Context) error {
	type locked struct {
		release func()
		err     error
	}
	got := make(chan locked, 1)
	go func() {
		release, err := lockExisting(d.Path(LockFile), shared)
		got <- locked{release, err}
	}()
	select {
	case l := <-got:
		if errors.Is(l.err, fs.ErrNotExist) {
			return nil // the folder went, or no warden ever came
		}
		if l.err != nil {
			return fmt.Errorf("bottle %s: %w", d.id, l.err)
		}
		l.release()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Alive reports whether a warden holds the folder now.
func (d *Dir) Alive() (bool, error) {
	release, err := lockFile(d.Path(LockFile), shared|atOnce)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("bottle %s: %w", d.id, err)
	}
	release()
	return false, nil
}

// lockFile locks the file or folder at path, making a missing file, and returns the release.
func lockFile(path string, how int) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	}
	if err != nil {
		return nil, err
	}
	return lockOpen(f, path, how)
}

// lockExisting is lockFile for a file that is there.
func lockExisting(path string, how int) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return lockOpen(f, path, how)
}

func lockOpen(f *os.File, path string, how int) (release func(), err error) {
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close() // nothing was written to it
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() {
		unlock(f)
		_ = f.Close() // nothing was written
	}, nil
}

// unlock gives a lock up at once. Closing alone would do that only when no process that is just being started
// still has a copy of the descriptor, as it has between its fork and its exec.
func unlock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) } // it fails for what is no file

// openRegular opens path for reading when it is a plain file, not a link or a pipe to hang on.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a plain file", path)
	}
	if err != nil {
		_ = f.Close() // nothing was written to it
		return nil, err
	}
	return f, nil
}
