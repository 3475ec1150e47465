//go:build linux

package jail

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
)

// Attributes of everything from the host.
const (
	shown  = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	frozen = shown | unix.MOUNT_ATTR_RDONLY
)

// Build builds the jail and enters it for the whole process. blob holds the files' content;
// trees are the mounts with Passed set, in order, as detached mounts whose attributes are set
// already. Both stay the caller's.
func Build(s Spec, blob *os.File, trees []*os.File) error {
	// Identities for file access are changed on this thread for a moment; see asAgent.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old := unix.Umask(0)
	defer unix.Umask(old)

	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	b := &builder{spec: s, kept: map[string]int{}}
	defer b.close()
	if err := b.begin(); err != nil {
		return err
	}
	sources, err := b.open(trees)
	if err != nil {
		return err
	}
	defer func() { dropAll(sources) }()
	early, late := b.split(s.Files)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"system folders", b.system},
		{"/etc", b.etc},
		{"/dev", b.dev},
		{"/proc", b.proc},
		{"temporary folders", b.temporary},
		{"files", func() error { return b.write(early, blob) }},
		{"mounts", func() error { return b.mounts(sources) }},
		{"files in mounts", func() error { return b.overlay(late, blob) }},
		{"holes", b.attachHoles},
		{"enter", b.enter},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("build the file system: %s: %w", step.name, err)
		}
	}
	return nil
}

// builder is a jail under construction.
type builder struct {
	spec Spec
	root tree           // attached, and its descriptor kept: the folder all paths start from
	fs   tree           // the new /proc, until it is attached
	kept map[string]int // folders by path; see folder
	// holes are what leaky builds show of the host.
	holes []hole
}

// scaffold is the folder of the host the new root lies on until it is entered. Everything below it
// that is needed was opened before.
const scaffold = "/tmp"

// begin cuts the mount namespace off the host's and makes the file systems of the jail.
func (b *builder) begin() (err error) {
	b.root, b.fs = -1, -1
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_PRIVATE}); err != nil {
		return fmt.Errorf("make the mounts private (needs Linux 5.12): %w", err)
	}
	if leak.On("no-pidns") {
		b.fs, err = clone(unix.AT_FDCWD, "/proc", shown)
	} else {
		b.fs, err = newProc()
	}
	if err != nil {
		return err
	}
	if b.spec.Whole {
		b.root, err = alone("/", shown)
	} else {
		b.root, err = filesystem("tmpfs", shown, [2]string{"mode", "0755"}, [2]string{"nr_inodes", "65536"})
	}
	return err
}

// newProc makes a /proc of the new pid namespace.
func newProc() (tree, error) {
	t, err := filesystem("proc", shown|unix.MOUNT_ATTR_NOEXEC)
	// The kernel gives a user namespace a /proc only while it sees one nothing of which is covered.
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w: parts of this host's /proc are covered, as they are inside a container; start the container with its /proc unmasked", err)
	}
	return t, err
}

// open opens what is to be mounted, while the host's paths can still be seen. A tree that comes
// from the holder is duplicated: files close their descriptors themselves.
func (b *builder) open(passed []*os.File) (trees []tree, err error) {
	defer func() {
		if err != nil {
			dropAll(trees)
		}
	}()
	for _, m := range b.spec.Mounts {
		t, err := b.source(m, &passed)
		if err != nil {
			return trees, fmt.Errorf("mount %s: %w", m.Source, err)
		}
		trees = append(trees, t)
	}
	if err := b.openHoles(); err != nil {
		return trees, err
	}
	// Only now: it hides what is below the scaffold.
	if err := unix.MoveMount(int(b.root), "", unix.AT_FDCWD, scaffold, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return trees, fmt.Errorf("new root: %w", err)
	}
	return trees, nil
}

func (b *builder) source(m Mount, passed *[]*os.File) (tree, error) {
	if m.Passed {
		if len(*passed) == 0 {
			return -1, errors.New("its descriptor is missing")
		}
		f := (*passed)[0]
		*passed = (*passed)[1:]
		return duplicate(f)
	}
	t, err := clone(unix.AT_FDCWD, m.Source, frozen)
	if err != nil || !m.Writable {
		return t, err
	}
	// The folder itself becomes writable; what the host has mounted below it stays read-only.
	if err := t.set(0, unix.MOUNT_ATTR_RDONLY, false); err != nil {
		t.drop()
		return -1, err
	}
	return t, nil
}

// enter makes the new root read-only and the process's root, and lets go of the host's.
func (b *builder) enter() error {
	if !leak.On("root-writable") {
		if err := b.root.set(unix.MOUNT_ATTR_RDONLY, 0, false); err != nil {
			return err
		}
	}
	if err := unix.Fchdir(int(b.root)); err != nil {
		return err
	}
	// The old root ends up on top of the new one, where it can be detached.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's file system: %w", err)
	}
	return unix.Chdir("/")
}

func (b *builder) close() {
	dropAll([]tree{b.root, b.fs})
	for _, fd := range b.kept {
		_ = unix.Close(fd) // O_PATH
	}
}

func dropAll(trees []tree) {
	for _, t := range trees {
		if t >= 0 {
			t.drop()
		}
	}
}
