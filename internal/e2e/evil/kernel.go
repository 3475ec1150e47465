//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidden are the doors of the kernel no agent has business at. The arguments are such that the
// call would do no harm where it is let through, or none that outlives this process.
func forbidden() map[string]func() error {
	self := os.Getpid()
	zero := make([]byte, 4096)
	at := uintptr(unsafe.Pointer(&zero[0]))
	path := uintptr(unsafe.Pointer(unsafe.StringData("/tmp\x00")))
	null := uintptr(0)
	const highBit = 1 << 32 // arguments the kernel reads as 32 bits must be compared so
	raw := func(n uintptr, a ...uintptr) func() error {
		return func() error {
			var v [6]uintptr
			copy(v[:], a)
			if _, _, e := unix.RawSyscall6(n, v[0], v[1], v[2], v[3], v[4], v[5]); e != 0 {
				return e
			}
			return nil
		}
	}
	calls := map[string]func() error{
		"unshare user": raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER), "unshare mount": raw(unix.SYS_UNSHARE, unix.CLONE_NEWNS),
		"unshare net": raw(unix.SYS_UNSHARE, unix.CLONE_NEWNET), "unshare user, high bit": raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER|highBit),
		"setns": raw(unix.SYS_SETNS, null, 0),
		"mount": raw(unix.SYS_MOUNT, path, path, null, unix.MS_BIND, 0), "umount2": raw(unix.SYS_UMOUNT2, path, 0),
		"pivot_root": raw(unix.SYS_PIVOT_ROOT, path, path), "chroot": raw(unix.SYS_CHROOT, path),
		"fsopen": raw(unix.SYS_FSOPEN, path, 0), "open_tree": raw(unix.SYS_OPEN_TREE, 0, path, 1), "move_mount": raw(unix.SYS_MOVE_MOUNT, 0, path, 0, path, 0),
		"fsmount": raw(unix.SYS_FSMOUNT, 0), "mount_setattr": raw(unix.SYS_MOUNT_SETATTR, 0, path, 0, at, 32),
		"keyctl": raw(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, 0), "add_key": raw(unix.SYS_ADD_KEY, path, path, at, 1, 0),
		"request_key": raw(unix.SYS_REQUEST_KEY, path, path, 0, 0),
		"bpf":         raw(unix.SYS_BPF, 0, at, 64), "perf_event_open": raw(unix.SYS_PERF_EVENT_OPEN, at, 0, ^null, ^null, 0),
		"io_uring_setup": raw(unix.SYS_IO_URING_SETUP, 1, at), "io_uring_enter": raw(unix.SYS_IO_URING_ENTER, 0), "io_uring_register": raw(unix.SYS_IO_URING_REGISTER, 0),
		"userfaultfd": raw(unix.SYS_USERFAULTFD, 1),
		"ptrace init": raw(unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1), "ptrace parent": raw(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(os.Getppid())),
		"process_vm_readv": raw(unix.SYS_PROCESS_VM_READV, uintptr(self), at, 1, at, 1, 0), "process_vm_writev": raw(unix.SYS_PROCESS_VM_WRITEV, uintptr(self), at, 1, at, 1, 0),
		"pidfd_getfd": raw(unix.SYS_PIDFD_GETFD, 0, 0, 0), "kcmp": raw(unix.SYS_KCMP, uintptr(self), uintptr(self), 0, 0, 0),
		"process_madvise": raw(unix.SYS_PROCESS_MADVISE, 0, at, 1, 0, 0),
		"kexec_load":      raw(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0), "kexec_file_load": raw(unix.SYS_KEXEC_FILE_LOAD, ^null, ^null, 0, 0, 0),
		"init_module": raw(unix.SYS_INIT_MODULE, at, 0, path), "finit_module": raw(unix.SYS_FINIT_MODULE, ^null, path, 0), "delete_module": raw(unix.SYS_DELETE_MODULE, path, unix.O_NONBLOCK),
		"reboot": raw(unix.SYS_REBOOT, 0, 0, 0), "swapon": raw(unix.SYS_SWAPON, path, 0), "syslog": raw(unix.SYS_SYSLOG, 3, at, 1), "acct": raw(unix.SYS_ACCT, null),
		"quotactl": raw(unix.SYS_QUOTACTL, 0, path, 0, at), "settimeofday": raw(unix.SYS_SETTIMEOFDAY, at, 0), "clock_settime": raw(unix.SYS_CLOCK_SETTIME, 0, at),
		"open_by_handle_at": raw(unix.SYS_OPEN_BY_HANDLE_AT, ^null, at, 0), "fanotify_init": raw(unix.SYS_FANOTIFY_INIT, 0, 0),
		"setuid root": raw(unix.SYS_SETUID, 0), "setgroups": raw(unix.SYS_SETGROUPS, 1, at), "sethostname": raw(unix.SYS_SETHOSTNAME, path, 4),
		"clone3 user": clone3, "personality read-implies-exec": raw(unix.SYS_PERSONALITY, 0x0400000),
		"raise RLIMIT_NPROC": raw(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, at, 0),
		"newer than known":   raw(600), "capset all": capsetAll,
	}
	for _, ns := range []struct {
		name string
		flag uintptr
	}{{"user", unix.CLONE_NEWUSER}, {"mount", unix.CLONE_NEWNS}, {"net", unix.CLONE_NEWNET}, {"pid", unix.CLONE_NEWPID}} {
		calls["clone "+ns.name] = func() error { return cloneInto(ns.flag) }
	}
	return calls
}

func clone3() error {
	args := struct{ flags, pidfd, child, parent, exit, stack, size, tls uint64 }{flags: unix.CLONE_NEWUSER, exit: uint64(unix.SIGCHLD)}
	pid, _, e := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) //nolint:errcheck // does not return
	}
	return nil
}

// cloneInto starts a process in a new namespace.
func cloneInto(flag uintptr) error {
	p, err := os.StartProcess("/proc/self/exe", []string{"evil", "who"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: flag}})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

func capsetAll() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	all := [2]unix.CapUserData{{Effective: ^uint32(0), Permitted: ^uint32(0)}, {Effective: ^uint32(0), Permitted: ^uint32(0)}}
	return unix.Capset(&hdr, &all[0])
}

// family is a kind of socket.
type family struct{ domain, kind, protocol int }

var (
	forbiddenSockets = map[string]family{
		"socket icmp": {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, "socket icmp6": {unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6},
		"socket raw": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW}, "socket raw icmp": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"socket sctp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, "socket mptcp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
		"socket udplite": {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE},
		"socket packet":  {unix.AF_PACKET, unix.SOCK_RAW, 0}, "socket packet dgram": {unix.AF_PACKET, unix.SOCK_DGRAM, 0},
		"socket vsock": {unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "socket alg": {unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, "socket xdp": {unix.AF_XDP, unix.SOCK_RAW, 0},
		"socket key": {unix.AF_KEY, unix.SOCK_RAW, 2}, "socket bluetooth": {unix.AF_BLUETOOTH, unix.SOCK_RAW, 1}, "socket can": {unix.AF_CAN, unix.SOCK_RAW, 1},
		"socket tipc": {unix.AF_TIPC, unix.SOCK_STREAM, 0}, "socket netlink audit": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		"socket netlink netfilter": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, "socket netlink generic": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC},
		"socket netlink diag": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG}, "socket netlink uevent": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
	}
	ordinarySockets = map[string]family{
		"ok tcp": {unix.AF_INET, unix.SOCK_STREAM, 0}, "ok udp": {unix.AF_INET, unix.SOCK_DGRAM, 0}, "ok tcp6": {unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP},
		"ok unix": {unix.AF_UNIX, unix.SOCK_STREAM, 0}, "ok netlink route": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
	}
)

// syscalls tries every door, and the ordinary ones beside it ("ok ..."). The outcome is the errno's
// name, or "done".
func syscalls([]string) (any, error) {
	out := map[string]string{}
	try := func(name string, f func() error) {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // never unlocked: a thread that changed is thrown away
			done <- f()
		}()
		out[name] = "done"
		if err := <-done; err != nil {
			out[name] = errno(err)
		}
	}
	for name, f := range forbidden() {
		try(name, f)
	}
	for _, set := range []map[string]family{forbiddenSockets, ordinarySockets} {
		for name, s := range set {
			try(name, func() error {
				fd, err := unix.Socket(s.domain, s.kind, s.protocol)
				if err == nil {
					err = unix.Close(fd)
				}
				return err
			})
		}
	}
	try("ok fork and exec", func() error { return cloneInto(0) })
	try("ok mmap", func() error {
		b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err == nil {
			err = unix.Munmap(b)
		}
		return err
	})
	return out, nil
}

func errno(err error) string {
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return unix.ErrnoName(n)
	}
	return err.Error()
}

// injectTTY types into a terminal of its own and into the controlling one, if there is any.
func injectTTY([]string) (any, error) {
	out := map[string]string{}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer master.Close()
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	terminals := map[string]string{"own": "/dev/pts/" + strconv.Itoa(n), "controlling": "/dev/tty"}
	for name, path := range terminals {
		t, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			out[name] = errno(err)
			continue
		}
		defer t.Close()
		c := byte('x')
		for call, request := range map[string]uintptr{"TIOCSTI": unix.TIOCSTI, "TIOCSTI, high bit": unix.TIOCSTI | 1<<32, "TIOCLINUX": 0x541c, "TIOCCONS": unix.TIOCCONS, "TIOCSETD": unix.TIOCSETD} {
			_, _, e := unix.Syscall(unix.SYS_IOCTL, t.Fd(), request, uintptr(unsafe.Pointer(&c)))
			out[name+" "+call] = "done"
			if e != 0 {
				out[name+" "+call] = unix.ErrnoName(e)
			}
		}
		if _, err := unix.IoctlGetTermios(int(t.Fd()), unix.TCGETS); err == nil {
			out["ok "+name+" TCGETS"] = "done"
		}
	}
	return out, nil
}

// signalInit signals process 1, its thread and everybody.
func signalInit([]string) (any, error) {
	out := map[string]string{}
	for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGKILL, unix.SIGSTOP, 0} {
		out[fmt.Sprintf("kill 1 %d", int(s))] = outcomeOf(unix.Kill(1, s))
		out[fmt.Sprintf("tgkill 1 %d", int(s))] = outcomeOf(unix.Tgkill(1, 1, s))
	}
	_, err := unix.PidfdOpen(1, 0)
	out["pidfd_open 1"] = outcomeOf(err)
	out["ok kill self 0"] = outcomeOf(unix.Kill(os.Getpid(), 0))
	return out, nil
}

func outcomeOf(err error) string {
	if err == nil {
		return "done"
	}
	return errno(err)
}

// who tells who the agent is.
func who([]string) (any, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			out[k] = strings.TrimSpace(v)
		}
	}
	for _, name := range []string{"uid_map", "gid_map"} {
		b, err := os.ReadFile("/proc/self/" + name)
		out[name] = strings.Join(strings.Fields(string(b)), " ") + errText(err)
	}
	links, err := os.ReadDir("/proc/self/ns")
	for _, l := range links {
		to, _ := os.Readlink("/proc/self/ns/" + l.Name())
		out["ns "+l.Name()] = to
	}
	return out, err
}
