package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/artifact"
)

// unpack makes an artifact's layers, one over the other, the file system in dir.
func unpack(pack, dir string) error {
	_, assets, err := artifact.Read(pack)
	if err != nil {
		return err
	}
	defer assets.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	for archive := tar.NewReader(assets); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tar error: %w", err)
		}
		if path.Dir(head.Name) != "layers" {
			continue
		}
		l := layer{root: root, made: map[string]bool{}}
		if err := l.apply(tar.NewReader(archive)); err != nil {
			return fmt.Errorf("%s: %w", head.Name, err)
		}
	}
}

// layer is one layer being applied to a file system. Every name is resolved inside root, so that no
// link of an image leads out of it.
type layer struct {
	root int
	// made are the names of this layer, which its own opaque marks don't hide.
	made map[string]bool
}

const whiteout = ".wh."

func (l *layer) apply(t *tar.Reader) error {
	type dirTime struct {
		name string
		at   time.Time
	}
	var dirs []dirTime
	for {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("tar error: %w", err)
		}
		name := path.Clean("/" + head.Name)
		if err := l.entry(t, head, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if head.Typeflag == tar.TypeDir {
			dirs = append(dirs, dirTime{name, head.ModTime})
		}
	}
	// A folder's time changes with every name made in it, so it is set last.
	for _, d := range dirs {
		if fd, err := l.open(d.name, unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
			_ = unix.Futimes(fd, []unix.Timeval{unix.NsecToTimeval(d.at.UnixNano()), unix.NsecToTimeval(d.at.UnixNano())})
			_ = unix.Close(fd)
		}
	}
	return nil
}

// open opens a name inside the file system.
func (l *layer) open(name string, flags int) (int, error) {
	return unix.Openat2(l.root, "."+name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT})
}

// parent opens the folder that holds name, and makes it if there is none.
func (l *layer) parent(name string) (int, error) {
	dir := path.Dir(name)
	fd, err := l.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
		return fd, err
	}
	up, err := l.parent(dir)
	if err != nil {
		return -1, err
	}
	defer unix.Close(up)
	if err := unix.Mkdirat(up, path.Base(dir), 0o755); err != nil {
		return -1, err
	}
	return l.open(dir, unix.O_PATH|unix.O_DIRECTORY)
}

func (l *layer) entry(t *tar.Reader, head *tar.Header, name string) error {
	base := path.Base(name)
	if name == "/" {
		if err := unix.Fchownat(l.root, "", head.Uid, head.Gid, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
		return unix.Fchmodat(l.root, ".", uint32(head.Mode&0o7777), 0)
	}
	dir, err := l.parent(name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	switch {
	case base == whiteout+whiteout+".opq":
		return l.empty(dir, path.Dir(name))
	case strings.HasPrefix(base, whiteout):
		return removeAt(dir, strings.TrimPrefix(base, whiteout))
	}
	l.made[name] = true
	if err := l.clear(dir, base, head.Typeflag == tar.TypeDir); err != nil {
		return err
	}
	mode := uint32(head.Mode & 0o7777)
	switch head.Typeflag {
	case tar.TypeDir:
		err = unix.Mkdirat(dir, base, mode)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	case tar.TypeReg:
		err = write(dir, base, t)
	case tar.TypeSymlink:
		err = unix.Symlinkat(head.Linkname, dir, base)
	case tar.TypeLink:
		return l.link(path.Clean("/"+head.Linkname), dir, base)
	case tar.TypeChar:
		err = unix.Mknodat(dir, base, unix.S_IFCHR|mode, int(unix.Mkdev(uint32(head.Devmajor), uint32(head.Devminor))))
	case tar.TypeBlock:
		err = unix.Mknodat(dir, base, unix.S_IFBLK|mode, int(unix.Mkdev(uint32(head.Devmajor), uint32(head.Devminor))))
	case tar.TypeFifo:
		err = unix.Mknodat(dir, base, unix.S_IFIFO|mode, 0)
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("tar entry of an unknown kind %q", head.Typeflag)
	}
	if err != nil {
		return err
	}
	return l.dress(dir, base, head, mode)
}

// dress gives a new file its owner, mode, attributes and time, in this order: a change of the owner
// takes set-user bits and capabilities away.
func (l *layer) dress(dir int, base string, head *tar.Header, mode uint32) error {
	if err := unix.Fchownat(dir, base, head.Uid, head.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if head.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(dir, base, mode, 0); err != nil {
			return err
		}
		for key, value := range head.PAXRecords {
			if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				// Not every file system keeps them; an image that needs them shows it soon enough.
				_ = unix.Setxattr(fmt.Sprintf("/proc/self/fd/%d/%s", dir, base), attr, []byte(value), 0)
			}
		}
	}
	at := unix.NsecToTimespec(head.ModTime.UnixNano())
	return unix.UtimesNanoAt(dir, base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

func write(dir int, base string, from io.Reader) error {
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

func (l *layer) link(target string, dir int, base string) error {
	from, err := l.parent(target)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	return unix.Linkat(from, path.Base(target), dir, base, 0)
}

// clear makes room for a new file. A folder over a folder stays.
func (l *layer) clear(dir int, base string, folder bool) error {
	var s unix.Stat_t
	err := unix.Fstatat(dir, base, &s, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || folder && s.Mode&unix.S_IFMT == unix.S_IFDIR {
		return err
	}
	return removeAt(dir, base)
}

func removeAt(dir int, base string) error {
	// The kernel resolves the descriptor, RemoveAll follows no link below it.
	return os.RemoveAll(filepath.Join(fmt.Sprintf("/proc/self/fd/%d", dir), base))
}

// empty removes what lower layers put into a folder.
func (l *layer) empty(dir int, name string) error {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", dir))
	for _, e := range entries {
		if !l.made[path.Join(name, e.Name())] {
			err = errors.Join(err, removeAt(dir, e.Name()))
		}
	}
	return err
}
