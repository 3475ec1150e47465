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
		null, err := clone(int(b.root), "dev/null", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY)
		if err != nil {
			return err
		}
		if err := b.over(null, "proc/"+name); err != nil {
			return err
		}
	}
	for _, name := range backend.MaskedFolders {
		empty, err := clone(int(b.root), "sys", frozen)
		if err != nil {
			return err
		}
		if err := b.over(empty, "proc/"+name); err != nil {
			return err
		}
	}
	for _, name := range backend.FrozenFolders {
		same, err := clone(int(b.root), "proc/"+name, frozen|unix.MOUNT_ATTR_NOEXEC)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		if err := b.over(same, "proc/"+name); err != nil {
			return err
		}
	}
	return nil
}

// over puts t over a path the kernel made, if this kernel has it.
func (b *builder) over(t tree, rel string) error {
	at, err := unix.Openat(int(b.root), rel, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		t.drop()
		return nil
	}
	if err != nil {
		t.drop()
		return err
	}
	defer unix.Close(at) // O_PATH
	return t.attach(at)
}
