//go:build linux

package confine

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Answers of the filter.
const (
	retAllow = unix.SECCOMP_RET_ALLOW
	retKill  = unix.SECCOMP_RET_KILL_PROCESS
	// retDenied answers what is known and not allowed.
	retDenied = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	// retMissing answers what libraries probe for and do without: system calls newer than our
	// list, and clone3, whose flags sit behind a pointer no filter can follow.
	retMissing  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	retFamily   = unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)
	retProtocol = unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)
)

// newNamespaces are the clone flags that make namespaces. CLONE_NEWTIME isn't among them: in
// clone its bit is part of the exit signal.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// filterSyscalls installs the filter on the calling thread.
func filterSyscalls() error { return filter().install() }

// filter is the assembled program. What it lets through is allowed and the checks below; all else
// is denied.
var filter = sync.OnceValue(assemble)

func assemble() *program {
	p := &program{}
	p.load(offArch)
	// A 32-bit program would be judged by the wrong numbers.
	p.unless(eq, auditArch, func() { p.ret(retKill) })
	p.load(offNumber)
	for _, c := range checks {
		p.when(eq, c.number, func() {
			c.check(p)
			p.ret(retAllow)
		})
	}
	for _, r := range ranges(allowed()) {
		p.when(ge, r[0], func() {
			p.unless(gt, r[1], func() { p.ret(retAllow) })
		})
	}
	// Newer than the list, and the x32 numbers (bit 30), which are "newer" than everything.
	p.when(gt, newestKnown, func() { p.ret(retMissing) })
	p.ret(retDenied)
	return p
}

// ranges turns numbers into sorted, inclusive ranges without gaps.
func ranges(numbers []uint32) [][2]uint32 {
	slices.Sort(numbers)
	var out [][2]uint32
	for _, n := range slices.Compact(numbers) {
		if k := len(out) - 1; k >= 0 && out[k][1]+1 == n {
			out[k][1] = n
		} else {
			out = append(out, [2]uint32{n, n})
		}
	}
	return out
}

// check is a system call allowed only with certain arguments. The function returns a verdict for
// the bad ones and falls through for the good.
type check struct {
	number uint32
	check  func(*program)
}

var checks = []check{
	{unix.SYS_CLONE3, func(p *program) { p.ret(retMissing) }},
	{unix.SYS_CLONE, func(p *program) {
		p.loadLow(0)
		p.when(set, newNamespaces, func() { p.ret(retDenied) })
	}},
	{unix.SYS_SOCKET, checkSocket},
	{unix.SYS_SOCKETPAIR, func(p *program) {
		p.loadLow(0)
		p.unless(eq, unix.AF_UNIX, func() { p.ret(retFamily) })
	}},
	{unix.SYS_IOCTL, func(p *program) {
		p.loadLow(1)
		// Typing into the controlling terminal (TIOCSTI, TIOCLINUX), taking the console's output,
		// and line disciplines, which load kernel modules.
		for _, request := range []uint32{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCCONS, unix.TIOCSETD} {
			p.when(eq, request, func() { p.ret(retDenied) })
		}
	}},
	{unix.SYS_PERSONALITY, func(p *program) {
		p.loadLow(0)
		// PER_LINUX, PER_LINUX32, either with UNAME26, and "just tell me".
		for _, persona := range []uint32{0, 8, 0x20000, 0x20008, 0xffffffff} {
			p.when(eq, persona, func() { p.ret(retAllow) })
		}
		p.ret(retDenied)
	}},
	// Limits may be read, and one's own set. Where the agent has the same user id as cork, the
	// kernel would let it set cork's. The limit of processes is a soft one that must not be lifted;
	// see limit.
	{unix.SYS_PRLIMIT64, func(p *program) {
		p.loadLow(2)
		p.when(eq, 0, func() {
			p.loadHigh(2)
			p.when(eq, 0, func() { p.ret(retAllow) })
		})
		p.loadLow(0)
		p.unless(eq, 0, func() { p.ret(retDenied) })
		p.loadLow(1)
		p.when(eq, unix.RLIMIT_NPROC, func() { p.ret(retDenied) })
	}},
	{unix.SYS_SETRLIMIT, func(p *program) {
		p.loadLow(0)
		p.when(eq, unix.RLIMIT_NPROC, func() { p.ret(retDenied) })
	}},
	// Where the agent has the same user id as cork, the kernel would let it signal process 1.
	{unix.SYS_KILL, notInit},
	{unix.SYS_TKILL, notInit},
	{unix.SYS_TGKILL, notInit},
	{unix.SYS_RT_SIGQUEUEINFO, notInit},
	{unix.SYS_RT_TGSIGQUEUEINFO, notInit},
	{unix.SYS_PIDFD_OPEN, notInit},
}

func notInit(p *program) {
	p.loadLow(0)
	p.when(eq, 1, func() { p.ret(retDenied) })
}

// checkSocket lets through unix sockets, TCP and UDP over IPv4 and IPv6, and the routing part of
// netlink. No raw or packet sockets, no other protocol (ICMP, SCTP, MPTCP, UDP-Lite), no other
// family (vsock, the kernel's crypto, bluetooth, ...).
func checkSocket(p *program) {
	const typeMask = 0xf // SOCK_NONBLOCK and SOCK_CLOEXEC sit above
	p.loadLow(0)
	p.when(eq, unix.AF_UNIX, func() { p.ret(retAllow) })
	p.when(eq, unix.AF_NETLINK, func() {
		p.loadLow(2)
		p.when(eq, unix.NETLINK_ROUTE, func() { p.ret(retAllow) })
		p.ret(retProtocol)
	})
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		p.when(eq, family, func() {
			p.loadLow(1)
			p.and(typeMask)
			p.when(eq, unix.SOCK_STREAM, func() { oneOf(p, 0, unix.IPPROTO_TCP) })
			p.when(eq, unix.SOCK_DGRAM, func() { oneOf(p, 0, unix.IPPROTO_UDP) })
			p.ret(retDenied)
		})
	}
	p.ret(retFamily)
}

// oneOf allows the protocols given as socket's third argument and no other.
func oneOf(p *program, protocols ...uint32) {
	p.loadLow(2)
	for _, n := range protocols {
		p.when(eq, n, func() { p.ret(retAllow) })
	}
	p.ret(retProtocol)
}
