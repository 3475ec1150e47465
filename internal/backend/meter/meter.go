//go:build linux

// Package meter watches how much disk space the folders of the host take that a bottle writes in.
// File systems have quotas, but few are set up for them, and none may be by an ordinary user.
package meter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// meterTick is how often the file systems are asked how full they are, which costs nothing.
	meterTick = 500 * time.Millisecond
	// meterRest is the least time from the end of one walk to the next, as a multiple of how long
	// the walk took: a large folder must not keep a processor busy.
	meterRest = 10
	// The folders are walked in any case, since what others free on the same file system can hide
	// what the bottle takes, and a kernel of a runtime's own may write late: after meterSoon, later
	// where that would keep a processor more than a hundredth busy, at the latest after meterLate.
	meterSoon = 10 * time.Second
	meterIdle = 100
	meterLate = time.Minute
	// maxWalked bounds a walk. A bottle with more files than this is over its limit.
	maxWalked = 2_000_000
)

// Watch returns an error for the operator once the folders together take more than limit
// bytes, or nil when ctx ends. It is a meter, not a quota: an agent can overshoot by what it
// writes within about a second, or until the next walk where others free as much meanwhile.
func Watch(ctx context.Context, folders []string, limit int64) error {
	ticks := time.NewTicker(meterTick)
	defer ticks.Stop()
	var (
		taken = int64(-1) // by the last walk; none was made yet
		then  int64       // what the file systems had in use at that time
		last  time.Time
		took  time.Duration
		first = inUse(folders)
		base  int64 // what the first walk found
	)
	for {
		used := inUse(folders)
		change := used - then // by the bottle, or by others and the bottle behind them
		due := taken < 0 || max(change, -change) > (limit-taken)/4 ||
			time.Since(last) > min(max(meterSoon, meterIdle*took), meterLate)
		if due && time.Since(last) >= meterRest*took {
			began := time.Now()
			n, hidden, err := takenBy(ctx, folders)
			if taken < 0 {
				base = n
			}
			if hidden {
				// A folder the agent made unreadable may hold all that was taken since the beginning.
				n = max(n, base+used-first)
			}
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			case n > limit:
				return fmt.Errorf("the bottle's folders take %d MiB, over the disk limit of %d MiB", n>>20, limit>>20)
			}
			taken, then, last = n, used, time.Now()
			took = last.Sub(began)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// inUse adds up what is in use on the folders' file systems, in bytes. A file system counted
// twice only makes the meter look sooner.
func inUse(folders []string) (sum int64) {
	for _, f := range folders {
		var st unix.Statfs_t
		if unix.Statfs(f, &st) == nil { // a folder that is gone takes nothing
			sum += int64(st.Blocks-st.Bfree) * st.Bsize
		}
	}
	return sum
}

var errTooMany = fmt.Errorf("the bottle's folders hold more than %d files", maxWalked)

// takenBy adds up the disk space of everything in the folders. What the agent arranges there is
// followed nowhere: os.Root keeps the walk inside, links are not followed, and a file with several
// names counts once. It reports whether there were folders it could not look into.
func takenBy(ctx context.Context, folders []string) (sum int64, hidden bool, err error) {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	walked := 0
	for _, folder := range folders {
		st, err := os.Lstat(folder)
		if err != nil || !st.IsDir() {
			continue // a single file is bounded by the limit of a file's size
		}
		root, err := os.OpenRoot(folder)
		if err != nil {
			continue // removed by the operator
		}
		err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
			if walked++; walked > maxWalked {
				return errTooMany
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				hidden = hidden || errors.Is(err, fs.ErrPermission)
				return nil // or it was removed meanwhile
			}
			info, err := d.Info()
			if err != nil {
				return nil // removed meanwhile
			}
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				if s.Nlink > 1 && !info.IsDir() {
					k := inode{s.Dev, s.Ino}
					if seen[k] {
						return nil
					}
					seen[k] = true
				}
				sum += s.Blocks * 512
			}
			return nil
		})
		if err = errors.Join(err, root.Close()); err != nil {
			return sum, hidden, err
		}
	}
	return sum, hidden, nil
}
