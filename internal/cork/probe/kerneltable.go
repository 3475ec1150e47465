//go:build linux

package probe

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
)

// fioclex is an ioctl every descriptor has.
const fioclex = 0x5451

// kernelTable lays out the calls. All are made so that success harms nothing, inside or outside:
// a leaky bottle may share a namespace with the host. null is an open /dev/null.
func kernelTable(null uintptr) []kernelProbe {
	own := func() *call { return sys("getpid", unix.SYS_GETPID) }
	probes := append(processProbes(),
		kernelProbe{name: "keyring", attacks: keyCalls(), controls: []*call{own()}},
		kernelProbe{name: "bpf", attacks: []*call{bpfMap()}, controls: []*call{own()}},
		kernelProbe{name: "io-uring", attacks: []*call{ringSetup()}, controls: []*call{sys("epoll_create1", unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC)}},
		kernelProbe{name: "userfaultfd", attacks: []*call{
			sys("userfaultfd", unix.SYS_USERFAULTFD, unix.O_CLOEXEC|1),
		}, controls: []*call{sys("eventfd2", unix.SYS_EVENTFD2, 0, unix.O_CLOEXEC)}},
		kernelProbe{name: "perf", attacks: []*call{perfOpen()}, controls: []*call{own()}},
		kernelProbe{name: "tty-inject", attacks: ttyCalls(null), controls: []*call{
			sys("ioctl(FIOCLEX)", unix.SYS_IOCTL, null, fioclex),
		}},
		kernelProbe{name: "kernel-load", attacks: loadCalls(), controls: []*call{own()}},
		kernelProbe{name: "kernel-log", attacks: []*call{logRead(), openat("/dev/kmsg", unix.O_RDONLY)},
			controls: []*call{openat("/dev/null", unix.O_RDONLY)},
			denials:  append([]error{unix.ENOENT}, refusal...)},
		kernelProbe{name: "file-handles", attacks: []*call{handleOpen()}, controls: []*call{openat("/", unix.O_RDONLY|unix.O_DIRECTORY)}},
		kernelProbe{name: "mount", attacks: mountCalls(), controls: []*call{openat("/proc/self/mountinfo", unix.O_RDONLY)}},
		kernelProbe{name: "namespaces", attacks: namespaceCalls(), controls: []*call{sys("sched_yield", unix.SYS_SCHED_YIELD)}},
	)
	// From here on a success changes the child.
	uid, gid := uintptr(os.Getuid()), uintptr(os.Getgid())
	return append(probes,
		kernelProbe{name: "set-uid", attacks: []*call{
			sys("setgroups", unix.SYS_SETGROUPS, 0, 0),
			sys("setresgid(0)", unix.SYS_SETRESGID, 0, 0, 0),
			sys("setuid(0)", unix.SYS_SETUID, 0),
			sys("setresuid(0)", unix.SYS_SETRESUID, 0, 0, 0),
			capset(),
		}, controls: []*call{
			sys("setresuid to itself", unix.SYS_SETRESUID, uid, uid, uid),
			sys("setresgid to itself", unix.SYS_SETRESGID, gid, gid, gid),
			sys("geteuid", unix.SYS_GETEUID),
		}, denials: append([]error{unix.EINVAL}, refusal...)}, // EINVAL: there is no uid 0 to become
		kernelProbe{name: "user-namespace", attacks: userNamespaceCalls(), controls: []*call{own()}})
}

// processProbes aim at cork.
func processProbes() []kernelProbe {
	hidden := kernelProbe{name: "pid1-hidden",
		controls: []*call{readlinkat("/proc/self/root"), openat("/proc/self/status", unix.O_RDONLY)},
		denials:  append([]error{unix.ENOENT, unix.ESRCH}, refusal...)}
	// A group of the child's own: of cork's, which it was born into, cork itself is a member.
	signal := kernelProbe{name: "pid1-signal", controls: []*call{sys("setpgid(0, 0)", unix.SYS_SETPGID, 0, 0), sys("kill(0, 0)", unix.SYS_KILL, 0, 0)}}
	trace := kernelProbe{name: "ptrace", controls: []*call{sys("getppid", unix.SYS_GETPPID)}}
	for _, pid := range targets() {
		dir := fmt.Sprintf("/proc/%d/", pid)
		for _, f := range []string{"environ", "mem", "auxv", "maps"} {
			hidden.attacks = append(hidden.attacks, openat(dir+f, unix.O_RDONLY))
		}
		hidden.attacks = append(hidden.attacks, openat(dir+"fd", unix.O_RDONLY|unix.O_DIRECTORY))
		links := []string{"root", "cwd", "exe"}
		if !confine.Sentry() { // which tells the number of a namespace to anybody, and has no call to enter one
			links = append(links, "ns/net")
		}
		for _, f := range links {
			hidden.attacks = append(hidden.attacks, readlinkat(dir+f))
		}
		// Signal 0 asks for the permission and sends nothing.
		signal.attacks = append(signal.attacks,
			sys(fmt.Sprintf("kill(%d, 0)", pid), unix.SYS_KILL, uintptr(pid), 0),
			sys(fmt.Sprintf("tgkill(%d, 0)", pid), unix.SYS_TGKILL, uintptr(pid), uintptr(pid), 0))
		// Seizing does not stop its victim and ends with the child.
		trace.attacks = append(trace.attacks,
			sys(fmt.Sprintf("ptrace(SEIZE, %d)", pid), unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid)),
			vmRead(pid))
	}
	// No process is behind descriptor -1: EBADF would mean that the call is open.
	trace.attacks = append(trace.attacks, sys("pidfd_getfd", unix.SYS_PIDFD_GETFD, minus(1), 0, 0))
	return []kernelProbe{hidden, signal, trace}
}

// vmRead reads a byte at address 0 of a process: EFAULT means that its memory was open.
func vmRead(pid int) *call {
	c := &call{what: fmt.Sprintf("process_vm_readv(%d)", pid), nr: unix.SYS_PROCESS_VM_READV}
	_, into := c.room(8)
	local, localPtr := c.room(16)
	remote, remotePtr := c.room(16)
	binary.NativeEndian.PutUint64(local, uint64(into))
	binary.NativeEndian.PutUint64(local[8:], 1)
	binary.NativeEndian.PutUint64(remote[8:], 1)
	c.args = [6]uintptr{uintptr(pid), localPtr, 1, remotePtr, 1, 0}
	return c
}

func keyCalls() []*call {
	const processKeyring = 2
	add := &call{what: "add_key", nr: unix.SYS_ADD_KEY}
	_, payload := add.room(1)
	add.args = [6]uintptr{add.text("user"), add.text("claude-bottle-probe"), payload, 1, minus(processKeyring)}
	req := &call{what: "request_key", nr: unix.SYS_REQUEST_KEY}
	req.args = [6]uintptr{req.text("user"), req.text("claude-bottle-probe"), 0, 0}
	return []*call{
		sys("keyctl", unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, minus(processKeyring), 0),
		add, req,
	}
}

func bpfMap() *call {
	c := &call{what: "bpf", nr: unix.SYS_BPF}
	attr, ptr := c.room(72)
	for i, v := range []uint32{unix.BPF_MAP_TYPE_ARRAY, 4, 4, 1} {
		binary.NativeEndian.PutUint32(attr[4*i:], v)
	}
	c.args = [6]uintptr{unix.BPF_MAP_CREATE, ptr, 72}
	return c
}

func ringSetup() *call {
	c := &call{what: "io_uring_setup", nr: unix.SYS_IO_URING_SETUP}
	_, params := c.room(120)
	c.args = [6]uintptr{1, params}
	return c
}

func perfOpen() *call {
	c := &call{what: "perf_event_open", nr: unix.SYS_PERF_EVENT_OPEN}
	attr, ptr := c.room(128)
	binary.NativeEndian.PutUint32(attr, unix.PERF_TYPE_SOFTWARE)
	binary.NativeEndian.PutUint32(attr[4:], 128)
	const excludeKernelAndHypervisor = 3 << 5
	binary.NativeEndian.PutUint64(attr[40:], excludeKernelAndHypervisor)
	c.args = [6]uintptr{ptr, 0, minus(1), minus(1), unix.PERF_FLAG_FD_CLOEXEC}
	return c
}

// ttyCalls push input into a terminal. null is no terminal, so the kernel would say ENOTTY; only a
// filter says EPERM. The last has a bit set that the kernel ignores and a careless filter does not.
func ttyCalls(null uintptr) []*call {
	const high = 1 << 32
	return []*call{
		sys("ioctl(TIOCSTI)", unix.SYS_IOCTL, null, unix.TIOCSTI),
		sys("ioctl(TIOCLINUX)", unix.SYS_IOCTL, null, unix.TIOCLINUX),
		sys("ioctl(TIOCSTI with a high bit)", unix.SYS_IOCTL, null, unix.TIOCSTI|high),
	}
}

// loadCalls would put code in the kernel or take the machine over; each has an argument no kernel
// accepts, which is looked at after the permission is.
func loadCalls() []*call {
	params := &call{what: "finit_module", nr: unix.SYS_FINIT_MODULE}
	params.args = [6]uintptr{minus(1), params.text(""), 0}
	swap := &call{what: "swapon", nr: unix.SYS_SWAPON}
	swap.args = [6]uintptr{swap.text("/claude-bottle-no-such-file"), 0}
	return []*call{
		params,
		sys("kexec_file_load", unix.SYS_KEXEC_FILE_LOAD, minus(1), minus(1), 0, 0, 0),
		sys("reboot", unix.SYS_REBOOT, 0, 0, 0, 0),
		swap,
	}
}

func logRead() *call {
	const sizeOfBuffer = 10
	return sys("syslog", unix.SYS_SYSLOG, sizeOfBuffer, 0, 0)
}

// handleOpen asks for a file by its number on the file system, past every path.
func handleOpen() *call {
	c := &call{what: "open_by_handle_at", nr: unix.SYS_OPEN_BY_HANDLE_AT}
	handle, ptr := c.room(16)
	binary.NativeEndian.PutUint32(handle, 8)
	binary.NativeEndian.PutUint32(handle[4:], 1)
	binary.NativeEndian.PutUint32(handle[8:], 2)
	c.args = [6]uintptr{minus(100), ptr, unix.O_RDONLY | unix.O_CLOEXEC}
	return c
}

// mountCalls name a file system that does not exist and folders that are none: ENODEV, ENOTDIR or
// EINVAL would mean that the door is open.
func mountCalls() []*call {
	m := &call{what: "mount", nr: unix.SYS_MOUNT}
	m.args = [6]uintptr{m.text("none"), m.text("/"), m.text("claude-bottle-none"), 0, 0}
	open := &call{what: "fsopen", nr: unix.SYS_FSOPEN}
	open.args = [6]uintptr{open.text("claude-bottle-none"), 1}
	tree := &call{what: "open_tree(CLONE)", nr: unix.SYS_OPEN_TREE}
	tree.args = [6]uintptr{minus(100), tree.text("/"), unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC}
	umount := &call{what: "umount2", nr: unix.SYS_UMOUNT2}
	umount.args = [6]uintptr{umount.text("/proc/self/status"), 0}
	root := &call{what: "chroot", nr: unix.SYS_CHROOT}
	root.args = [6]uintptr{root.text("/")}
	pivot := &call{what: "pivot_root", nr: unix.SYS_PIVOT_ROOT}
	pivot.args = [6]uintptr{pivot.text("/dev/null"), pivot.text("/dev/null")}
	return []*call{m, open, tree, umount, root, pivot}
}

// namespaceCalls need privilege in the bottle. setns on descriptor -1 finds nothing to join.
func namespaceCalls() []*call {
	return []*call{
		sys("setns", unix.SYS_SETNS, minus(1), unix.CLONE_NEWNS),
		sys("unshare(NEWUTS)", unix.SYS_UNSHARE, unix.CLONE_NEWUTS),
		sys("unshare(NEWIPC)", unix.SYS_UNSHARE, unix.CLONE_NEWIPC),
		sys("unshare(NEWPID)", unix.SYS_UNSHARE, unix.CLONE_NEWPID),
		sys("unshare(NEWNET)", unix.SYS_UNSHARE, unix.CLONE_NEWNET),
		sys("unshare(NEWCGROUP)", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP),
		sys("unshare(NEWNS)", unix.SYS_UNSHARE, unix.CLONE_NEWNS),
	}
}

// capset asks for everything.
func capset() *call {
	c := &call{what: "capset", nr: unix.SYS_CAPSET}
	header, hp := c.room(8)
	binary.NativeEndian.PutUint32(header, unix.LINUX_CAPABILITY_VERSION_3)
	data, dp := c.room(24)
	for i := range 2 {
		binary.NativeEndian.PutUint32(data[12*i:], 1)
		binary.NativeEndian.PutUint32(data[12*i+4:], 1)
	}
	c.args = [6]uintptr{hp, dp}
	return c
}

// userNamespaceCalls try every door to a namespace of one's own, in which one would be root.
func userNamespaceCalls() []*call {
	clone := sys("clone(NEWUSER)", unix.SYS_CLONE, unix.CLONE_NEWUSER)
	clone.forks = true
	clone3 := &call{what: "clone3(NEWUSER)", nr: unix.SYS_CLONE3, forks: true}
	args, ptr := clone3.room(88)
	binary.NativeEndian.PutUint64(args, unix.CLONE_NEWUSER)
	clone3.args = [6]uintptr{ptr, 88}
	calls := []*call{clone, clone3}
	if runtime.GOARCH == "amd64" {
		// The x32 calls of the same kernel: a filter that compares numbers alone misses them.
		const x32 = 0x40000000
		calls = append(calls, sys("x32 unshare(NEWUSER)", x32|unix.SYS_UNSHARE, unix.CLONE_NEWUSER))
	}
	return append(calls, sys("unshare(NEWUSER)", unix.SYS_UNSHARE, unix.CLONE_NEWUSER))
}
