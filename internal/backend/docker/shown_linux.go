package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/sys/mountinfo"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/idmap"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// shown are folders of this host shown in a container.
type shown struct {
	mounts []mount.Mount
	// lent are the places in the bottle's own folder where writable folders are mounted under the
	// agent's ids before the container starts. They must be unmounted again.
	lent []lent
}

// lent is one folder under other ids.
type lent struct{ source, at string }

// bind is a mount of a folder or file of this host, without what is mounted below it.
func bind(source, target string, writable bool) mount.Mount {
	return mount.Mount{
		Type: mount.TypeBind, Source: source, Target: target, ReadOnly: !writable,
		BindOptions: &mount.BindOptions{NonRecursive: true},
	}
}

// show lays out the mounts of s, parents before children. With own, a folder of the bottle's,
// writable folders are to be shown from places in it, under the agent's ids.
func show(mounts []backend.Mount, own string) (out shown, err error) {
	for i, m := range mounts {
		if _, err := os.Lstat(m.Source); err != nil {
			return out, fmt.Errorf("mount: %w", err)
		}
		if err := premake(mounts, m); err != nil {
			return out, fmt.Errorf("mount at %s: %w", m.Target, err)
		}
		source := m.Source
		if own != "" && m.Writable {
			source = filepath.Join(own, lentPlace+strconv.Itoa(i))
			if err := place(m.Source, source); err != nil {
				return out, err
			}
			out.lent = append(out.lent, lent{m.Source, source})
		}
		out.mounts = append(out.mounts, bind(source, m.Target, m.Writable))
	}
	return out, nil
}

// place makes an empty folder or file at path, of source's kind.
func place(source, path string) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	if st.IsDir() {
		return os.Mkdir(path, 0o700)
	}
	return os.WriteFile(path, nil, 0o600)
}

// premake makes the place of m where it lies in another mount: the engine would make it as root,
// and follow a link that an agent left there in an earlier life.
func premake(all []backend.Mount, m backend.Mount) error {
	var parent backend.Mount
	for _, o := range all {
		if strings.HasPrefix(m.Target, o.Target+"/") && len(o.Target) > len(parent.Target) {
			parent = o
		}
	}
	if parent.Target == "" {
		return nil
	}
	root, err := os.OpenRoot(parent.Source)
	if err != nil {
		return err
	}
	defer root.Close()
	uid, gid, err := idmap.Owner(parent.Source)
	if err != nil {
		return err
	}
	st, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	names := strings.Split(strings.TrimPrefix(m.Target, parent.Target+"/"), "/")
	for i := range names {
		at := path.Join(names[:i+1]...)
		folder := st.IsDir() || i < len(names)-1
		found, err := root.Lstat(at)
		switch {
		case err == nil && found.IsDir() == folder && found.Mode()&fs.ModeSymlink == 0:
			continue
		case err == nil:
			return fmt.Errorf("%s in %s is a file or a symbolic link on the way to a mount; remove it", at, parent.Source)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case !parent.Writable:
			return fmt.Errorf("%s does not exist in %s and can't be made: the folder is shown read-only", at, parent.Source)
		}
		if folder {
			err = root.Mkdir(at, 0o755)
		} else {
			err = root.WriteFile(at, nil, 0o644)
		}
		if err == nil {
			err = root.Lchown(at, uid, gid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lend mounts what is lent, under the agent's ids. exe is a program to make user namespaces with.
func (s shown) lend(exe string, agent identity) error {
	if len(s.lent) == 0 {
		return nil
	}
	f, err := os.Open(exe)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	for _, l := range s.lent {
		uid, gid, err := idmap.Owner(l.source)
		if err != nil {
			return err
		}
		users, err := idmap.Users(f, uid, gid, agent.agentUID, agent.agentGID)
		if err != nil {
			return err
		}
		tree, err := idmap.Clone(l.source, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, users)
		_ = users.Close() // the mount holds on to the namespace
		if err != nil {
			return err
		}
		err = idmap.Attach(tree, l.at)
		_ = tree.Close() // attached, or useless
		if err != nil {
			return err
		}
	}
	return nil
}

// places are where mounts are lent, for a label.
func (s shown) places() []string {
	var out []string
	for _, l := range s.lent {
		out = append(out, l.at)
	}
	return out
}

// takeBack ends what was lent at the given places. A place where nothing is, is none.
func takeBack(places []string) error {
	var errs []error
	for _, at := range places {
		err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}

// lentMounts are the places that the host's mount table shows folders lent at, by bottle. The
// container that they were for may be gone.
func lentMounts() (map[bottle.ID][]string, error) {
	mounts, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		at, name := filepath.Split(i.Mountpoint)
		return !strings.HasPrefix(name, lentPlace) || filepath.Base(at) != ownFolder, false
	})
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	out := map[bottle.ID][]string{}
	for _, m := range mounts {
		if id, err := bottle.ParseID(filepath.Base(filepath.Dir(filepath.Dir(m.Mountpoint)))); err == nil {
			out[id] = append(out[id], m.Mountpoint)
		}
	}
	return out, nil
}

// writable returns the folders of the host the agent can write in.
func writable(mounts []backend.Mount) []string {
	var out []string
	for _, m := range mounts {
		if m.Writable {
			out = append(out, m.Source)
		}
	}
	return out
}
