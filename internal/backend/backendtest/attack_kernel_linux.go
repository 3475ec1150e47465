package backendtest

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a raw system call to try.
type call struct {
	name string
	nr   uintptr
	args [6]uintptr
}

func (c call) try() syscall.Errno {
	_, _, e := syscall.RawSyscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
	return e
}

// word is a C string that lives as long as the process.
func word(s string) uintptr {
	b, _ := unix.BytePtrFromString(s) // constants without a NUL
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(b))
}

var kept []*byte

const high = 1 << 32 // set in an argument of which the kernel reads the low half

func trySyscalls([]string) error {
	runtime.LockOSThread()
	page := make([]byte, 4096)
	p := uintptr(unsafe.Pointer(&page[0]))
	// struct clone_args with CLONE_NEWUSER and SIGCHLD.
	cloneArgs := [8]uint64{unix.CLONE_NEWUSER, 0, 0, 0, uint64(unix.SIGCHLD)}
	ppid := uintptr(os.Getppid())
	root, tmp, none := word("/"), word("/tmp"), word("none")
	for _, c := range append(archCalls(p), []call{
		{"unshare user", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUSER}},
		{"unshare mount", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWNS}},
		{"unshare net", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWNET}},
		{"setns", unix.SYS_SETNS, [6]uintptr{0, 0}},
		{"clone3 user", unix.SYS_CLONE3, [6]uintptr{uintptr(unsafe.Pointer(&cloneArgs)), 64}},
		{"mount", unix.SYS_MOUNT, [6]uintptr{none, tmp, word("tmpfs")}},
		{"bind mount", unix.SYS_MOUNT, [6]uintptr{root, tmp, 0, unix.MS_BIND}},
		{"remount", unix.SYS_MOUNT, [6]uintptr{none, root, 0, unix.MS_REMOUNT | unix.MS_BIND}},
		{"umount", unix.SYS_UMOUNT2, [6]uintptr{word("/proc/keys"), unix.MNT_DETACH}},
		{"pivot_root", unix.SYS_PIVOT_ROOT, [6]uintptr{tmp, tmp}},
		{"chroot", unix.SYS_CHROOT, [6]uintptr{tmp}},
		{"fsopen", unix.SYS_FSOPEN, [6]uintptr{word("tmpfs")}},
		{"fsmount", unix.SYS_FSMOUNT, [6]uintptr{}},
		{"fspick", unix.SYS_FSPICK, [6]uintptr{0, root}},
		{"open_tree", unix.SYS_OPEN_TREE, [6]uintptr{0, root, unix.OPEN_TREE_CLONE}},
		{"move_mount", unix.SYS_MOVE_MOUNT, [6]uintptr{0, root, 0, tmp}},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, [6]uintptr{0, root, 0, p, 32}},
		{"keyctl", unix.SYS_KEYCTL, [6]uintptr{unix.KEYCTL_GET_KEYRING_ID}},
		{"add_key", unix.SYS_ADD_KEY, [6]uintptr{word("user"), word("k"), p, 1}},
		{"request_key", unix.SYS_REQUEST_KEY, [6]uintptr{word("user"), word("k")}},
		{"bpf", unix.SYS_BPF, [6]uintptr{unix.BPF_MAP_CREATE, p, 64}},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [6]uintptr{1, p}},
		{"io_uring_enter", unix.SYS_IO_URING_ENTER, [6]uintptr{0}},
		{"io_uring_register", unix.SYS_IO_URING_REGISTER, [6]uintptr{0}},
		{"userfaultfd", unix.SYS_USERFAULTFD, [6]uintptr{1}},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{p}},
		{"ptrace the parent", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_ATTACH, ppid}},
		{"ptrace, be traced", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_TRACEME}},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [6]uintptr{ppid}},
		{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, [6]uintptr{ppid}},
		{"process_madvise", unix.SYS_PROCESS_MADVISE, [6]uintptr{0}},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, [6]uintptr{0, 0}},
		{"kcmp", unix.SYS_KCMP, [6]uintptr{ppid, ppid}},
		{"kexec_load", unix.SYS_KEXEC_LOAD, [6]uintptr{}},
		{"init_module", unix.SYS_INIT_MODULE, [6]uintptr{p, 4096, p}},
		{"finit_module", unix.SYS_FINIT_MODULE, [6]uintptr{0, p}},
		{"delete_module", unix.SYS_DELETE_MODULE, [6]uintptr{word("nothing")}},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{0, p}},
		{"acct", unix.SYS_ACCT, [6]uintptr{}},
		{"quotactl", unix.SYS_QUOTACTL, [6]uintptr{0, p}},
		{"reboot", unix.SYS_REBOOT, [6]uintptr{1, 2, 3}},
		{"swapon", unix.SYS_SWAPON, [6]uintptr{tmp}},
		{"swapoff", unix.SYS_SWAPOFF, [6]uintptr{tmp}},
		{"syslog", unix.SYS_SYSLOG, [6]uintptr{3, p, 4096}},
		{"personality", unix.SYS_PERSONALITY, [6]uintptr{0x0040000}},
		{"personality with high bits", unix.SYS_PERSONALITY, [6]uintptr{0x0400000 | high}},
		{"sethostname", unix.SYS_SETHOSTNAME, [6]uintptr{p, 1}},
		{"setdomainname", unix.SYS_SETDOMAINNAME, [6]uintptr{p, 1}},
		{"settimeofday", unix.SYS_SETTIMEOFDAY, [6]uintptr{p}},
		{"clock_settime", unix.SYS_CLOCK_SETTIME, [6]uintptr{0, p}},
		{"adjtimex", unix.SYS_ADJTIMEX, [6]uintptr{p}},
		{"vhangup", unix.SYS_VHANGUP, [6]uintptr{}},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT, [6]uintptr{}},
		{"move_pages", unix.SYS_MOVE_PAGES, [6]uintptr{0}},
		{"mbind", unix.SYS_MBIND, [6]uintptr{p, 4096}},
		{"nfsservctl", unix.SYS_NFSSERVCTL, [6]uintptr{}},
		{"memfd_secret", 447, [6]uintptr{}},
		{"lookup of a number nobody knows", 4000, [6]uintptr{}},
		{"twin getpid", unix.SYS_GETPID, [6]uintptr{}},
		{"twin personality", unix.SYS_PERSONALITY, [6]uintptr{0xffffffff}},
		{"twin memfd_create", unix.SYS_MEMFD_CREATE, [6]uintptr{none}},
		{"twin landlock", unix.SYS_LANDLOCK_CREATE_RULESET, [6]uintptr{0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION}},
		{"twin no_new_privs", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_NO_NEW_PRIVS, 1}},
	}...) {
		tell(c.name, c.try())
	}
	for _, flag := range []uintptr{unix.CLONE_NEWUSER, unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWUSER | high} {
		tell("clone into "+flagName(flag), cloneWith(flag))
	}
	tell("twin clone", cloneWith(0))
	return nil
}

func flagName(flag uintptr) string {
	names := map[uintptr]string{unix.CLONE_NEWUSER: "user", unix.CLONE_NEWNS: "mount", unix.CLONE_NEWPID: "pid", unix.CLONE_NEWNET: "net"}
	if n := names[flag&^high]; flag&high == 0 {
		return n
	}
	return "user with high bits"
}

// cloneWith forks with flags; the child ends at once and does nothing.
func cloneWith(flags uintptr) syscall.Errno {
	pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		for {
			_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	_, _ = unix.Wait4(int(pid), nil, 0, nil) // it does nothing but end
	return 0
}

func trySockets([]string) error {
	for _, s := range []struct {
		name                   string
		family, kind, protocol int
	}{
		{"raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW},
		{"raw icmp", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		{"raw v6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		{"ping", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
		{"ping v6", unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6},
		{"sctp", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		{"sctp seqpacket", unix.AF_INET, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP},
		{"mptcp", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
		{"udplite", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE},
		{"dccp", unix.AF_INET, unix.SOCK_DCCP, unix.IPPROTO_DCCP},
		{"sock_packet", unix.AF_INET, unix.SOCK_PACKET, 0},
		{"packet", unix.AF_PACKET, unix.SOCK_RAW, 0},
		{"packet datagram", unix.AF_PACKET, unix.SOCK_DGRAM, 0},
		{"vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		{"alg", unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		{"xdp", unix.AF_XDP, unix.SOCK_RAW, 0},
		{"key", unix.AF_KEY, unix.SOCK_RAW, 2},
		{"bluetooth", unix.AF_BLUETOOTH, unix.SOCK_STREAM, 0},
		{"tipc", unix.AF_TIPC, unix.SOCK_STREAM, 0},
		{"rds", unix.AF_RDS, unix.SOCK_SEQPACKET, 0},
		{"qipcrtr", unix.AF_QIPCRTR, unix.SOCK_DGRAM, 0},
		{"netfilter", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
		{"generic netlink", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC},
		{"audit", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		{"sock_diag", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG},
		{"uevent", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
		{"twin tcp", unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC, unix.IPPROTO_TCP},
		{"twin udp", unix.AF_INET, unix.SOCK_DGRAM, 0},
		{"twin tcp6", unix.AF_INET6, unix.SOCK_STREAM, 0},
		{"twin unix", unix.AF_UNIX, unix.SOCK_SEQPACKET, 0},
		{"twin route", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
	} {
		fd, err := unix.Socket(s.family, s.kind, s.protocol)
		if err == nil {
			_ = unix.Close(fd) // never used
		}
		tell(s.name, err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		_, _ = unix.Close(pair[0]), unix.Close(pair[1]) // never used
	}
	tell("twin socketpair", err)
	return nil
}

func tryTTY([]string) error {
	x := []byte("x")
	p := uintptr(unsafe.Pointer(&x[0]))
	var size [4]uint16
	n := int32(0) // N_TTY
	for _, c := range []call{
		{"TIOCSTI", unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCSTI, p}},
		{"TIOCSTI with high bits", unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCSTI | high, p}},
		{"TIOCLINUX", unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCLINUX, p}},
		{"TIOCSETD", unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCSETD, uintptr(unsafe.Pointer(&n))}},
		{"twin TIOCGWINSZ", unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCGWINSZ, uintptr(unsafe.Pointer(&size))}},
	} {
		tell(c.name, c.try())
	}
	return nil
}

func tryIdentity([]string) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	all := [2]unix.CapUserData{{Effective: ^uint32(0), Permitted: ^uint32(0)}, {Effective: ^uint32(0), Permitted: ^uint32(0)}}
	group := [1]uint32{0}
	for _, c := range []call{
		{"setuid", unix.SYS_SETUID, [6]uintptr{0}},
		{"setgid", unix.SYS_SETGID, [6]uintptr{0}},
		{"setresuid", unix.SYS_SETRESUID, [6]uintptr{0, 0, 0}},
		{"setreuid to another", unix.SYS_SETREUID, [6]uintptr{65534, 65534}},
		{"setgroups", unix.SYS_SETGROUPS, [6]uintptr{1, uintptr(unsafe.Pointer(&group))}},
		{"capset", unix.SYS_CAPSET, [6]uintptr{uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&all))}},
		{"ambient", unix.SYS_PRCTL, [6]uintptr{unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN}},
		{"new privileges", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_NO_NEW_PRIVS, 0}},
		{"securebits", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_SECUREBITS, 0}},
	} {
		tell(c.name, c.try())
	}
	return nil
}

func tryInit([]string) error {
	info := make([]byte, 128)
	p := uintptr(unsafe.Pointer(&info[0]))
	for _, c := range []call{
		{"kill", unix.SYS_KILL, [6]uintptr{1, uintptr(unix.SIGKILL)}},
		{"kill with high bits", unix.SYS_KILL, [6]uintptr{1 | high, uintptr(unix.SIGTERM)}},
		{"tkill", unix.SYS_TKILL, [6]uintptr{1, uintptr(unix.SIGSEGV)}},
		{"tgkill", unix.SYS_TGKILL, [6]uintptr{1, 1, uintptr(unix.SIGSEGV)}},
		{"rt_sigqueueinfo", unix.SYS_RT_SIGQUEUEINFO, [6]uintptr{1, uintptr(unix.SIGSEGV), p}},
		{"pidfd_open", unix.SYS_PIDFD_OPEN, [6]uintptr{1}},
		{"prlimit", unix.SYS_PRLIMIT64, [6]uintptr{1, unix.RLIMIT_NOFILE, p, 0}},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [6]uintptr{1}},
		{"ptrace", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_SEIZE, 1}},
	} {
		tell(c.name, c.try())
	}
	return nil
}

func tryRlimit([]string) error {
	big := unix.Rlimit{Cur: 4096, Max: 4096}
	var now unix.Rlimit
	p := uintptr(unsafe.Pointer(&big))
	for _, c := range []call{
		{"prlimit", unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NPROC, p}},
		{"prlimit with high bits", unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NPROC | high, p}},
		{"setrlimit", unix.SYS_SETRLIMIT, [6]uintptr{unix.RLIMIT_NPROC, p}},
		{"twin reading it", unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NPROC, 0, uintptr(unsafe.Pointer(&now))}},
		{"twin another one", unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NOFILE, p}},
	} {
		tell(c.name, c.try())
	}
	return nil
}
