//go:build linux

// Package idmap shows folders of the host to somebody with other ids, as if they were the owner:
// idmapped mounts, Linux 5.12. It is for a root holder, whose bottle runs under ids that own
// nothing on the host. Files made through such a mount belong, on disk, to the owner.
package idmap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// Owner returns the ids a file or folder has on disk.
func Owner(path string) (uid, gid int, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	sys := st.Sys().(*syscall.Stat_t) // what os.Stat returns on Linux
	return int(sys.Uid), int(sys.Gid), nil
}

// Users makes a user namespace in which the ids on disk are shown as uid and gid, and returns an
// open file of it. exe is a program to start for a moment, since only a process can make one; it
// is killed before it has run. The caller closes the file.
func Users(exe *os.File, diskUID, diskGID, uid, gid int) (*os.File, error) {
	runtime.LockOSThread() // the process dies with the thread that started it
	defer runtime.UnlockOSThread()
	p, err := spawn.StartMapped("/proc/self/fd/3", []string{"claude-bottle", backend.CorkCommand}, &os.ProcAttr{
		Env:   []string{},
		Files: []*os.File{nil, nil, nil, exe},
		Sys: &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: diskUID, HostID: uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: diskGID, HostID: gid, Size: 1}},
			Pdeathsig:   syscall.SIGKILL,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("user namespace for mounts: %w", err)
	}
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(p.Pid), "ns/user"))
	err = errors.Join(err, p.Kill())
	_, waitErr := p.Wait()
	if err = errors.Join(err, waitErr); err != nil {
		if f != nil {
			_ = f.Close() // useless now
		}
		return nil, fmt.Errorf("user namespace for mounts: %w", err)
	}
	return f, nil
}

// Clone returns a detached mount of the file or folder at path with the given mount attributes,
// without what is mounted below it. With users, a namespace from Users, the mount is idmapped. The
// caller closes the file; a process of another mount namespace may attach it.
func Clone(path string, attrs uint64, users *os.File) (_ *os.File, err error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	attr := unix.MountAttr{Attr_set: attrs}
	if users != nil {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(users.Fd())
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		_ = f.Close() // useless now
		if users != nil && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM)) {
			return nil, fmt.Errorf("mount %s: its file system can't be mounted under other user ids (idmapped mounts: %w); run as an ordinary user, or keep the folder on ext4, xfs or btrfs", path, err)
		}
		return nil, fmt.Errorf("mount %s: %w", path, err)
	}
	return f, nil
}

// Attach puts a detached mount of Clone's at path, a folder or file of the same kind, in the
// caller's mount namespace.
func Attach(tree *os.File, path string) error {
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount at %s: %w", path, err)
	}
	return nil
}
