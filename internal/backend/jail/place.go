//go:build linux

package jail

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLink bounds a symbolic link's text.
const maxLink = 4096

// place returns an O_PATH descriptor of target, a path in the jail, and makes what is missing of
// it: folders, and at the end a folder or an empty file. It follows no symbolic link: a folder
// the agent wrote in during an earlier life may hold anything.
func (b *builder) place(target string, folder bool) (int, error) {
	names := strings.Split(strings.Trim(path.Clean(target), "/"), "/")
	at, err := unix.FcntlInt(uintptr(b.root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for i, name := range names {
		if name == "" {
			continue // "/" itself
		}
		last := i == len(names)-1
		next, err := b.step(at, name, folder || !last)
		_ = unix.Close(at) // O_PATH: nothing to flush
		if err != nil {
			return -1, fmt.Errorf("/%s: %w", path.Join(names[:i+1]...), err)
		}
		at = next
	}
	return at, nil
}

// step opens one name in the folder at, making it when it is missing.
func (b *builder) step(at int, name string, folder bool) (int, error) {
	flags := unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if folder {
		flags |= unix.O_DIRECTORY
	}
	fd, err := unix.Openat(at, name, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		if err := b.make(at, name, folder); err != nil {
			return -1, err
		}
		fd, err = unix.Openat(at, name, flags, 0)
	}
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return -1, errors.New("is a file or a symbolic link on the way to a mount; remove it")
	case err != nil:
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || !folder && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		_ = unix.Close(fd) // O_PATH
		if err == nil {
			err = errors.New("is a symbolic link where a file is to be mounted; remove it")
		}
		return -1, err
	}
	return fd, nil
}

func (b *builder) make(at int, name string, folder bool) error {
	do := func() error {
		if folder {
			return unix.Mkdirat(at, name, 0o755)
		}
		fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
	// In a folder of the agent's, as the agent: on a host it then belongs to the operator, where we are
	// nobody who could write there; in a system of its own we could, and it would be ours.
	var parent unix.Stat_t
	if err := unix.Fstat(at, &parent); err != nil {
		return err
	}
	agents := int(parent.Uid) == b.spec.UID
	var err error
	if !agents {
		err = do()
	}
	if agents || err != nil && !errors.Is(err, unix.EROFS) {
		err = b.asAgent(do)
	}
	if errors.Is(err, unix.EROFS) {
		return errors.New("doesn't exist there and can't be made: the folder is read-only")
	}
	return err
}

// asAgent runs f with the agent's identity for file access on this thread.
func (b *builder) asAgent(f func() error) error {
	gid, _ := unix.SetfsgidRetGid(b.spec.GID)
	uid, _ := unix.SetfsuidRetUid(b.spec.UID)
	defer func() {
		// Both can only fail for ids that aren't mapped, and these were in force a moment ago.
		_, _ = unix.SetfsuidRetUid(uid)
		_, _ = unix.SetfsgidRetGid(gid)
	}()
	return f()
}

// show mounts path of the host at target, everything below it included.
func (b *builder) show(hostPath, target string, attrs uint64) error {
	t, err := clone(unix.AT_FDCWD, hostPath, attrs)
	if err != nil {
		return fmt.Errorf("%s: %w", hostPath, err)
	}
	return b.attach(t, target)
}

// attach puts t at target, making the place for it. It takes t over.
func (b *builder) attach(t tree, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(t), &st); err != nil {
		t.drop()
		return err
	}
	at, err := b.place(target, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		t.drop()
		return err
	}
	defer unix.Close(at) // O_PATH
	if err := t.attach(at); err != nil {
		return fmt.Errorf("mount at %s: %w", target, err)
	}
	return nil
}

// mkdir makes a folder of the jail's root, with its parents.
func (b *builder) mkdir(target string) error {
	fd, err := b.place(target, true)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// folder returns a descriptor of a folder of the jail's root, made with its parents. It belongs to
// the builder, which keeps those of the two folders that get most of the entries; nothing is ever
// mounted over them while the jail is built.
func (b *builder) folder(dir string) (fd int, release func(), err error) {
	if fd, ok := b.kept[dir]; ok {
		return fd, func() {}, nil
	}
	fd, err = b.existing(dir)
	if err != nil {
		fd, err = b.place(dir, true)
	}
	if err != nil {
		return -1, nil, err
	}
	if dir == "/etc" || dir == "/dev" {
		b.kept[dir] = fd
		return fd, func() {}, nil
	}
	return fd, func() { _ = unix.Close(fd) }, nil // O_PATH
}

// existing opens a folder of a system of its own, in which folders may be links to others: nothing of
// the agent's has ever run in it. A path through them never leaves it.
func (b *builder) existing(dir string) (int, error) {
	if !b.spec.Whole {
		return -1, unix.ENOENT
	}
	return unix.Openat2(int(b.root), dir, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// symlink makes a link in the jail's root, with the folders on the way to it.
func (b *builder) symlink(to, target string) error {
	dir, release, err := b.folder(path.Dir(target))
	if err != nil {
		return err
	}
	defer release()
	if err := unix.Symlinkat(to, dir, path.Base(target)); err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return nil
}

// file writes a file of the jail's root, in place of what an earlier step wrote there.
func (b *builder) file(target string, mode uint32, data []byte) error {
	dir, release, err := b.folder(path.Dir(target))
	if err != nil {
		return err
	}
	defer release()
	const create = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	name := path.Base(target)
	fd, err := unix.Openat(dir, name, create, mode)
	if errors.Is(err, unix.EEXIST) {
		if err = unix.Unlinkat(dir, name, 0); err == nil {
			fd, err = unix.Openat(dir, name, create, mode)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	for err == nil && len(data) > 0 {
		var n int
		n, err = unix.Write(fd, data)
		data = data[max(n, 0):]
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return nil
}
