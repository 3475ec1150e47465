//go:build linux

package confine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls here are raw on purpose: the wrappers of package syscall change identities on
// all threads of the process, and this package must change one.

// limit sets the soft limit of processes. The hard one stays, so that Unbound can lift the soft
// one again for ourselves; programs can't, since seccomp refuses them RLIMIT_NPROC.
func limit(pids uint64) error {
	if pids == 0 {
		return nil
	}
	var l unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &l); err != nil {
		return err
	}
	l.Cur = min(pids, l.Max)
	return unix.Prlimit(0, unix.RLIMIT_NPROC, &l, nil)
}

// Unbound lifts the process's own RLIMIT_NPROC back to its hard limit. It is for the unconfined
// process that called Apply on one of its threads, after a program was started there and before
// the next one is, when Apply or Bound must set it again.
func Unbound() error {
	var l unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return unix.Prlimit(0, unix.RLIMIT_NPROC, &l, nil)
}

// Bound sets the process's RLIMIT_NPROC to what p gives a program, for the next one to inherit.
func Bound(p Policy) error { return limit(p.PIDs) }

// dropBounding empties the capability bounding set, so that no executable gives any back.
func dropBounding() error {
	for c := uintptr(0); c <= 63; c++ {
		_, _, e := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0)
		if e == unix.EINVAL && c > 0 {
			return nil // past the kernel's last capability
		}
		if e != 0 {
			return fmt.Errorf("capability %d: %w", c, e)
		}
	}
	return nil
}

// Bits of linux/securebits.h; each _LOCKED bit is the one above its own.
const (
	secNoRoot             = 1 << 0
	secNoSetuidFixup      = 1 << 2
	secKeepCaps           = 1 << 4
	secNoCapAmbientRaise  = 1 << 6
	secbitsWanted         = secNoRoot | secNoSetuidFixup | secNoCapAmbientRaise
	secbitsWantedAndFixed = secbitsWanted | secbitsWanted<<1 | secKeepCaps<<1
)

// lockSecurebits makes uid 0 mean nothing by itself, for good: no capabilities from executing as
// root, none raised as ambient, none kept.
func lockSecurebits() error {
	_, _, e := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, secbitsWantedAndFixed, 0)
	if e != 0 && !Sentry() {
		return e
	}
	return nil
}

// become drops the groups and takes the ids, real, effective, saved and of the file system.
func become(uid, gid uint32) error {
	// A user namespace made by an ordinary user may not set groups at all; the ones it came with
	// stay then, and are those the operator has anyway.
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 && e != unix.EPERM {
		return fmt.Errorf("setgroups: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); e != 0 {
		return fmt.Errorf("setresgid %d: %w", gid, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
		return fmt.Errorf("setresuid %d: %w", uid, e)
	}
	return nil
}

// dropCapabilities empties the ambient, effective, permitted and inheritable sets, and looks.
func dropCapabilities() error {
	if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("ambient: %w", e)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none, left [2]unix.CapUserData
	if _, _, e := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&none[0])), 0); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&left[0])), 0); e != 0 {
		return e
	}
	runtime.KeepAlive(&hdr)
	if left != none {
		return errors.New("some are left after dropping all")
	}
	return nil
}

func noNewPrivs() error {
	if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}
