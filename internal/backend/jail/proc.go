//go:build linux

package jail

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
)

// proc mounts the bottle's own /proc. A masked folder gets an empty one in its place, a file the
// null device.
func (b *builder) proc() error {
	t := b.fs
	b.fs = -1
	if err := b.attach(t, "/proc"); err != nil {
		return err
	}
	if leak.On("proc-unmasked") {
		return nil
	}
	for _, name := range backend.MaskedFiles {
		if err := b.over("proc/"+name, "dev/null", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
	}
	for _, name := range backend.MaskedFolders {
		if err := b.over("proc/"+name, "sys", frozen); err != nil {
			return err
		}
	}
	for _, name := range backend.FrozenFolders {
		if err := b.over("proc/"+name, "proc/"+name, frozen|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return err
		}
	}
	return nil
}

// over puts a clone of what over a path the kernel made, if this kernel has it. It looks for that
// first: to throw a clone away again, the kernel waits for all its processors.
func (b *builder) over(rel, what string, attrs uint64) error {
	at, err := unix.Openat(int(b.root), rel, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(at) // O_PATH
	t, err := clone(int(b.root), what, attrs)
	if err != nil {
		return err
	}
	return t.attach(at)
}
