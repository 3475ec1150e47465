//go:build linux

package jail

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// system shows the host's programs, read-only. Folders that are links into /usr on the host are
// the same links in the bottle.
func (b *builder) system() error {
	if b.spec.Whole {
		return b.cover()
	}
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix"} {
		if err := b.mirror(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/sys", "/opt", "/home", "/var/lib", "/var/cache", "/var/log"} {
		if err := b.mkdir(dir); err != nil {
			return err
		}
	}
	for _, link := range [][2]string{{"/run", "/var/run"}, {"/run/lock", "/var/lock"}} {
		if err := b.symlink(link[0], link[1]); err != nil {
			return err
		}
	}
	// Entry by entry, since the bottle's own programs are mounted among them.
	entries, err := os.ReadDir("/opt")
	if err != nil {
		return nil // there is none, or none for everybody
	}
	for _, e := range entries {
		if e.Name() == path.Base(programs) || !e.IsDir() {
			continue
		}
		if err := b.mirror(path.Join("/opt", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// cover puts empty folders where a system of its own has what is the kernel's: what is mounted there
// later is all there is.
func (b *builder) cover() error {
	for dir, attrs := range map[string]int{
		"/dev": unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC,
		"/sys": frozen | unix.MOUNT_ATTR_NOEXEC,
	} {
		t, err := filesystem("tmpfs", attrs, [2]string{"mode", "0755"}, [2]string{"nr_inodes", "1024"})
		if err == nil {
			err = b.attach(t, dir)
		}
		if err != nil {
			return err
		}
	}
	for _, dir := range []string{"/opt", "/home"} {
		if err := b.mkdir(dir); err != nil {
			return err
		}
	}
	return nil
}

// programs is where provider programs are mounted; a folder of that name on the host is not shown.
const programs = "/opt/claude-bottle"

// mirror shows a folder, or makes the link it is on the host. What is not there, or not for
// everybody to enter, is left out.
func (b *builder) mirror(dir string) error {
	st, err := os.Lstat(dir)
	switch {
	case err != nil:
		return nil
	case st.Mode()&os.ModeSymlink != 0:
		to, err := os.Readlink(dir)
		if err != nil || len(to) > maxLink {
			return err
		}
		return b.symlink(to, dir)
	case !st.IsDir() || st.Mode().Perm()&0o005 != 0o005:
		return nil
	}
	err = b.show(dir, dir, frozen)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// temporary makes the folders that are the bottle's alone and end with it.
func (b *builder) temporary() error {
	for _, dir := range []string{"/tmp", "/var/tmp", "/run", "/dev/shm"} {
		if err := b.tmpfs(dir); err != nil {
			return err
		}
	}
	return nil
}
