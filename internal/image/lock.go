package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockEvery is how often a lock that somebody else holds is tried again.
const lockEvery = 100 * time.Millisecond

// Lock takes the file name, made when missing, for this process, and returns the release, which
// removes the file: there is one for every key, and keys are many. It calls waiting once when
// somebody else holds it. The kernel releases it when its holder dies.
func Lock(ctx context.Context, name string, waiting func()) (release func(), err error) {
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		release, err := tryLock(name)
		if err != nil || release != nil {
			return release, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// tryLock returns neither release nor error when somebody else holds the lock.
func tryLock(name string) (release func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	held := err == nil && same(f, name)
	switch {
	case held:
		return func() {
			_ = os.Remove(name) // while it is held: whoever waits sees that it is another file now
			_ = f.Close()       // closing releases; nothing was written
		}, nil
	case err != nil && !errors.Is(err, unix.EWOULDBLOCK):
		err = fmt.Errorf("lock %s: %w", name, err)
	default:
		err = nil
	}
	_ = f.Close() // nothing was written
	return nil, err
}

// same reports whether name still is the file f: its last holder may have removed it meanwhile.
func same(f *os.File, name string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(name)
	return err == nil && os.SameFile(mine, now)
}
