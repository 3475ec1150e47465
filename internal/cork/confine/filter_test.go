//go:build linux

package confine

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// judge runs the filter over one system call, as the kernel does. The kernel has checked by then
// that every path ends in a verdict and no jump leads out; here both panic.
func judge(arch, number uint32, args ...uint64) uint32 {
	data := make([]byte, 64) // struct seccomp_data
	binary.LittleEndian.PutUint32(data[offNumber:], number)
	binary.LittleEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.LittleEndian.PutUint64(data[offArgs+8*i:], a)
	}
	acc := uint32(0)
	code := filter().code
	for pc := 0; ; pc++ {
		switch i := code[pc]; i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[i.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= i.K
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		default:
			holds := false
			switch i.Code {
			case unix.BPF_JMP | eq | unix.BPF_K:
				holds = acc == i.K
			case unix.BPF_JMP | gt | unix.BPF_K:
				holds = acc > i.K
			case unix.BPF_JMP | ge | unix.BPF_K:
				holds = acc >= i.K
			case unix.BPF_JMP | set | unix.BPF_K:
				holds = acc&i.K != 0
			default:
				panic(fmt.Sprintf("instruction %d: %+v", pc, i))
			}
			if holds {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
	}
}

const high = uint64(1) << 32 // set in an argument of which the kernel reads the low half

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		call   string
		number uint32
		args   []uint64
		want   uint32
	}{
		{"read", unix.SYS_READ, nil, retAllow},
		{"openat", unix.SYS_OPENAT, nil, retAllow},
		{"execve", unix.SYS_EXECVE, nil, retAllow},
		{"mount", unix.SYS_MOUNT, nil, retDenied},
		{"unshare", unix.SYS_UNSHARE, nil, retDenied},
		{"ptrace", unix.SYS_PTRACE, nil, retDenied},
		{"bpf", unix.SYS_BPF, nil, retDenied},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, nil, retDenied},
		{"open_tree", unix.SYS_OPEN_TREE, nil, retDenied},
		{"open_tree_attr, newer than the list", unix.SYS_OPEN_TREE_ATTR, nil, retMissing},
		{"a number of the future", 5000, nil, retMissing},
		{"a number of the x32 ABI", 0x40000000, nil, retMissing},

		{"clone3", unix.SYS_CLONE3, nil, retMissing},
		{"a thread", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_SETTLS}, retAllow},
		{"a child", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, retAllow},
		{"a user namespace", unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, retDenied},
		{"a mount namespace, high bits set", unix.SYS_CLONE, []uint64{unix.CLONE_NEWNS | high}, retDenied},

		{"unix", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, retAllow},
		{"tcp", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, 0}, retAllow},
		{"udp6", unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP}, retAllow},
		{"udp, high bits set", unix.SYS_SOCKET, []uint64{unix.AF_INET | high, unix.SOCK_DGRAM | high, high}, retAllow},
		{"ping", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, retProtocol},
		{"raw", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, retDenied},
		{"raw, high bits set", unix.SYS_SOCKET, []uint64{unix.AF_INET | high, unix.SOCK_RAW | high, unix.IPPROTO_ICMP}, retDenied},
		{"sctp", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, retProtocol},
		{"packet", unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW, 0}, retFamily},
		{"vsock", unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, retFamily},
		{"route", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, retAllow},
		{"netfilter", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, retProtocol},
		{"a pair of unix", unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, retAllow},
		{"a pair of tipc", unix.SYS_SOCKETPAIR, []uint64{unix.AF_TIPC, unix.SOCK_STREAM, 0}, retFamily},

		{"window size", unix.SYS_IOCTL, []uint64{0, unix.TIOCGWINSZ}, retAllow},
		{"typing", unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, retDenied},
		{"typing, high bits set", unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI | high}, retDenied},
		{"pasting", unix.SYS_IOCTL, []uint64{0, unix.TIOCLINUX}, retDenied},

		{"ask for the personality", unix.SYS_PERSONALITY, []uint64{0xffffffff}, retAllow},
		{"fixed addresses", unix.SYS_PERSONALITY, []uint64{0x0040000}, retDenied},
		{"kill", unix.SYS_KILL, []uint64{77, 9}, retAllow},
		{"kill all", unix.SYS_KILL, []uint64{^uint64(0), 9}, retAllow},
		{"kill cork", unix.SYS_KILL, []uint64{1, 9}, retDenied},
		{"kill cork, high bits set", unix.SYS_KILL, []uint64{1 | high, 9}, retDenied},
		{"read limits", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NPROC, 0, 1}, retAllow},
		{"read another's limits", unix.SYS_PRLIMIT64, []uint64{1, unix.RLIMIT_NOFILE, 0, 1}, retAllow},
		{"set one's files", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 1, 0}, retAllow},
		{"set one's processes", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NPROC, 1, 0}, retDenied},
		{"set them by a high address", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NPROC, high, 0}, retDenied},
		{"set cork's files", unix.SYS_PRLIMIT64, []uint64{1, unix.RLIMIT_NOFILE, 1, 0}, retDenied},
		{"set processes the old way", unix.SYS_SETRLIMIT, []uint64{unix.RLIMIT_NPROC, 1}, retDenied},
	} {
		if got := judge(auditArch, c.number, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.call, got, c.want)
		}
	}
	if got := judge(unix.AUDIT_ARCH_I386, unix.SYS_READ); got != retKill {
		t.Errorf("a 32-bit program: %#x", got)
	}
}

// Whatever comes, there is a verdict, and what is denied by the low halves of the arguments can't
// be had by setting high ones. (Addresses are the exception: they have two halves.)
func FuzzFilter(f *testing.F) {
	f.Add(uint32(unix.SYS_SOCKET), uint64(2), uint64(3), uint64(1))
	f.Add(uint32(unix.SYS_CLONE), uint64(unix.CLONE_NEWUSER), uint64(0), uint64(0))
	f.Add(uint32(unix.SYS_IOCTL), uint64(0), uint64(unix.TIOCSTI), uint64(0))
	f.Fuzz(func(t *testing.T, number uint32, a, b, c uint64) {
		const low = 1<<32 - 1
		got := judge(auditArch, number, a, b, c)
		if number == unix.SYS_PRLIMIT64 {
			return
		}
		if want := judge(auditArch, number, a&low, b&low, c&low); got != want {
			t.Errorf("%d(%#x, %#x, %#x): %#x, and %#x without the high bits", number, a, b, c, got, want)
		}
	})
}

func TestRanges(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(ranges([]uint32{9, 1, 2, 2, 3, 7, 8}))
	if want := "[[1 3] [7 9]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Nothing is both allowed whatever its arguments and checked: the check would be for show.
func TestChecksAreNotOvertaken(t *testing.T) {
	t.Parallel()
	free := map[uint32]bool{}
	for _, n := range allowed() {
		if free[n] {
			t.Errorf("%d is on the list twice", n)
		}
		if n > newestKnown {
			t.Errorf("%d is allowed and newer than the newest known", n)
		}
		free[n] = true
	}
	for _, c := range checks {
		if free[c.number] {
			t.Errorf("%d is checked and allowed without", c.number)
		}
	}
}

func BenchmarkFilter(b *testing.B) {
	b.Run("assemble", func(b *testing.B) {
		for b.Loop() {
			assemble()
		}
	})
	b.ReportMetric(float64(len(filter().code)), "instructions")
}
