//go:build linux

package confine

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Sentry reports whether the kernel is gVisor's. It is a program of its own between the bottle and
// the host, with devices, a /proc and a network of its own make, and it lacks some of Linux's second
// locks: securebits, which would be set here, and mounts over /proc/sys.
func Sentry() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && strings.HasSuffix(unix.ByteSliceToString(u.Release[:]), "-gvisor")
}
