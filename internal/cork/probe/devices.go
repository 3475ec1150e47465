//go:build linux

package probe

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
)

// nativeUint32 reads a number as the kernel laid it out.
func nativeUint32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// devices walks /dev and expects nothing but the harmless character devices.
func devices(*scene) (attack, control finding) {
	control = works("/dev/null and /dev/urandom work")
	if b, err := readFile("/dev/urandom", 8); err != nil || len(b) != 8 {
		control = unclear("/dev/urandom yields nothing")
	}
	if fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		control = unclear("/dev/null: " + errText(err))
	} else {
		if !isNull(fd) {
			control = unclear("/dev/null is no null device")
		}
		_ = unix.Close(fd) // read nothing, wrote nothing
	}
	seen := 0
	attack = walkDevices("/dev", 3, &seen)
	if attack.ok {
		attack.text = fmt.Sprintf("%d entries in /dev, all harmless", seen)
	}
	return attack, control
}

// harmless are the character devices a bottle may have: null, zero, full, random, urandom, and
// terminals of its own. Numbers, not names: a name can be anything.
func harmless(rdev uint64) bool {
	major, minor := unix.Major(rdev), unix.Minor(rdev)
	switch {
	case major == 1:
		return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9
	case major == 5: // tty, console, ptmx
		return minor <= 2
	case major == 10 && (minor == 200 || minor == 229): // tun and fuse, which gVisor has of its own make
		return confine.Sentry()
	case major >= 136 && major <= 143: // pseudo-terminals
		return true
	}
	return false
}

// walkDevices looks at what is in dir and, to the given depth, below.
func walkDevices(dir string, depth int, seen *int) finding {
	names, err := list(dir)
	if err != nil {
		if depth < 3 && denies(err) {
			return stopped(dir + " is closed")
		}
		return unclear(dir + ": " + errText(err))
	}
	for _, name := range names {
		path := dir + "/" + name
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			if denies(err) {
				continue // gone meanwhile, or not ours to see: then it can't be used either
			}
			return unclear(path + ": " + errText(err))
		}
		*seen++
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFBLK:
			return leaked(path + " is a block device")
		case unix.S_IFCHR:
			if !harmless(st.Rdev) {
				return leaked(fmt.Sprintf("%s is device %d:%d", path, unix.Major(st.Rdev), unix.Minor(st.Rdev)))
			}
		case unix.S_IFDIR:
			if depth > 1 {
				if f := walkDevices(path, depth-1, seen); !f.ok {
					return f
				}
			}
		}
	}
	return stopped(dir)
}

// maxNames bounds a listing; no folder we look into has as many.
const maxNames = 1 << 14

// list returns the names in a folder, without "." and "..".
func list(dir string) ([]string, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) // only ever read from
	var names []string
	buf := make([]byte, 16<<10)
	for len(names) < maxNames {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			return names, err
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], maxNames, names)
	}
	return names, nil
}
