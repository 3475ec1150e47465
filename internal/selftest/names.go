package selftest

import "slices"

// names are the probes a bottle answers for, in the order of the report. The list is written
// twice on purpose, here and in the prober: a cork that reports fewer, other or doubled probes is
// refused by comparison with this one.
var names = [...]string{
	// Ways out: every one must be refused by the egress engine itself, in its own words.
	"direct-ip4",     // TCP to a public IPv4 address
	"direct-ip6",     // TCP to a public IPv6 address
	"direct-ports",   // TCP to a public address on 22, 443, 8443
	"private-net",    // TCP to RFC 1918 and CGNAT addresses
	"metadata-ip4",   // TCP to 169.254.169.254
	"metadata-ip6",   // TCP to fd00:ec2::254
	"host-loopback",  // bait listeners on the host's loopback
	"host-network",   // bait listeners on the host's other addresses, its gateway, engine bridges
	"host-header",    // an allowed address asked for a host that is not allowed
	"proxy-http",     // unlisted host through the HTTP proxy
	"proxy-connect",  // unlisted host through CONNECT
	"proxy-socks5",   // unlisted host through SOCKS5
	"proxy-to-host",  // the bait listeners through the proxy
	"proxy-metadata", // the metadata address through the proxy
	"dns-udp",        // unlisted name asked of a public resolver
	"dns-resolver",   // unlisted name asked of the configured resolver
	"dns-subtree",    // a name below an allowed one
	"dns-tcp",        // unlisted name over TCP 53
	"dns-over-tls",   // TCP 853
	"quic",           // UDP 443
	"udp",            // UDP to any other port
	"interfaces",     // a network device beside loopback
	// Sockets that speak past TCP and UDP.
	"icmp-socket",
	"raw-socket",
	"packet-socket",
	"vsock-socket",
	"kernel-socket",  // AF_ALG, AF_XDP, AF_KEY and the like
	"netlink-socket", // netlink other than routing
	// The host's sockets, files and processes.
	"engine-sockets",   // docker, containerd, podman, systemd, dbus, X
	"host-unix",        // bait unix sockets, by path and abstract
	"abstract-sockets", // any abstract name that is not the bottle's own
	"host-files",       // the bait file, by several roots
	"host-processes",   // a /proc of another process namespace
	"root-readonly",
	"proc-sys",
	"proc-masked",
	"sys-readonly",
	"devices",
	// Who the agent is.
	"identity", // root in the bottle, or outside
	"capabilities",
	"no-new-privs",
	"seccomp",
	"limits",
	// System calls that reach for cork or the kernel.
	"pid1-hidden", // environment, memory, descriptors, root of PID 1
	"pid1-signal",
	"ptrace", // ptrace, process_vm_readv, pidfd_getfd
	"keyring",
	"bpf",
	"io-uring",
	"userfaultfd",
	"perf",
	"tty-inject",   // TIOCSTI, TIOCLINUX
	"kernel-load",  // modules, kexec, reboot, swap
	"kernel-log",   // syslog, /dev/kmsg
	"file-handles", // open_by_handle_at
	"mount",        // mount, its new API, chroot, pivot_root
	"namespaces",   // setns, unshare
	"set-uid",      // setuid(0), setgroups, capset
	"user-namespace",
}

// Names returns the probes every bottle must pass, in the order of the report. The slice is the
// caller's.
func Names() []string { return slices.Clone(names[:]) }
