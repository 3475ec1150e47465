//go:build linux

package jail

import "golang.org/x/sys/unix"

// devices are all there are. They are the host's nodes, since a user namespace can't make any.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// dev makes /dev: harmless devices, terminals of the bottle's own, the usual links.
func (b *builder) dev() error {
	for _, name := range devices {
		if err := b.show("/dev/"+name, "/dev/"+name, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return err
		}
	}
	pts, err := filesystem("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC,
		[2]string{"ptmxmode", "0666"}, [2]string{"mode", "0620"})
	if err != nil {
		return err
	}
	if err := b.attach(pts, "/dev/pts"); err != nil {
		return err
	}
	for _, link := range [][2]string{
		{"pts/ptmx", "/dev/ptmx"}, {"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	} {
		if err := b.symlink(link[0], link[1]); err != nil {
			return err
		}
	}
	return nil
}
