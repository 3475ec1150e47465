//go:build linux

package jail

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel's descriptor-based mount API (Linux 5.2, attributes 5.12): a mount is made or cloned
// detached, given its attributes, and only then put in place, so that nothing is ever visible with
// more rights than it is to have, and no path is looked up twice.

// tree is a detached mount; its descriptor is closed by attach or drop.
type tree int

func (t tree) drop() { _ = unix.Close(int(t)) } // a detached mount goes with its descriptor

// duplicate takes a detached mount out of a file, which stays open.
func duplicate(f *os.File) (tree, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	t := tree(-1)
	var dupErr error
	if err := raw.Control(func(fd uintptr) {
		n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		t, dupErr = tree(n), err
	}); err != nil {
		return -1, err
	}
	return t, dupErr
}

// clone copies the mount at path relative to dir, with everything mounted below it: in a user
// namespace of our own the kernel refuses to uncover what lies under those.
func clone(dir int, path string, attrs uint64) (tree, error) {
	return copyTree(dir, path, attrs, unix.AT_RECURSIVE)
}

// alone copies the mount at path, without what is mounted below it.
func alone(path string, attrs uint64) (tree, error) { return copyTree(unix.AT_FDCWD, path, attrs, 0) }

func copyTree(dir int, path string, attrs uint64, flags uint) (tree, error) {
	recursive := flags&unix.AT_RECURSIVE != 0
	flags |= unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	fd, err := unix.OpenTree(dir, path, flags)
	if err != nil {
		return -1, err
	}
	t := tree(fd)
	if err := t.set(attrs, 0, recursive); err != nil {
		t.drop()
		return -1, err
	}
	return t, nil
}

// set adds and removes mount attributes.
func (t tree) set(add, remove uint64, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(int(t), "", flags, &unix.MountAttr{Attr_set: add, Attr_clr: remove}); err != nil {
		return fmt.Errorf("set mount attributes: %w", err)
	}
	return nil
}

// attach puts the tree on the open file or folder at, and closes it.
func (t tree) attach(at int) error {
	defer t.drop()
	return unix.MoveMount(int(t), "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// filesystem makes a new instance of a file system, detached.
func filesystem(kind string, attrs int, options ...[2]string) (_ tree, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("new %s: %w", kind, err)
		}
	}()
	fd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd) // a context, done with
	for _, o := range options {
		if err := unix.FsconfigSetString(fd, o[0], o[1]); err != nil {
			return -1, fmt.Errorf("%s=%s: %w", o[0], o[1], err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, err
	}
	m, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, attrs)
	return tree(m), err
}
