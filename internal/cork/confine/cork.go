//go:build linux

package confine

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// corkCaps are what cork still needs once the bottle stands: to become the agent, to take every
// capability from it, and to kill it.
const corkCaps = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_KILL

// KeepCork drops, on every thread of this process, all capabilities but those cork needs for the
// rest of the bottle's life.
func KeepCork() error { return keepOnly(corkCaps) }

func keepOnly(mask uint32) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: mask, Permitted: mask}}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data[0])), 0)
	if e != 0 && e != syscall.ENOTSUP { // with cgo, which is to say under the race detector, there is no such call
		return fmt.Errorf("drop cork's own capabilities: %w", e)
	}
	return nil
}

// BecomeCork turns a process of root's, all its threads, into one of uid and gid that has kept
// what KeepCork keeps, and nothing else.
func BecomeCork(uid, gid int) error {
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); e != 0 {
		return fmt.Errorf("keep cork's capabilities: %w", e)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("drop groups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("become cork's group: %w", err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("become cork: %w", err)
	}
	return KeepCork()
}
