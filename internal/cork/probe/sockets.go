//go:build linux

package probe

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// kind is a socket to try to open.
type kind struct {
	name                string
	family, typ, protoc int
}

// withheld tries to open each kind. A kernel that lacks a kind withholds it as well as a filter.
func withheld(kinds ...kind) finding {
	var last error
	for _, k := range kinds {
		fd, err := unix.Socket(k.family, k.typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, k.protoc)
		if err == nil {
			_ = unix.Close(fd) // opened a moment ago, unused
			return leaked("a " + k.name + " socket opened")
		}
		switch {
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EAFNOSUPPORT),
			errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ESOCKTNOSUPPORT):
			last = err
		default:
			return unclear(k.name + " socket: " + errText(err))
		}
	}
	if len(kinds) == 1 {
		return stopped(fmt.Sprintf("%s socket: %s", kinds[0].name, errText(last)))
	}
	return stopped(fmt.Sprintf("%d kinds of socket, last %s: %s", len(kinds), kinds[len(kinds)-1].name, errText(last)))
}

// opens is the twin of withheld: ordinary sockets are to be had.
func opens(kinds ...kind) finding {
	for _, k := range kinds {
		fd, err := unix.Socket(k.family, k.typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, k.protoc)
		if err != nil {
			return unclear(k.name + " socket: " + errText(err))
		}
		_ = unix.Close(fd) // opened a moment ago, unused
	}
	return works(kinds[0].name + " socket opened")
}

var (
	udpSocket  = kind{"UDP", unix.AF_INET, unix.SOCK_DGRAM, 0}
	tcpSocket  = kind{"TCP", unix.AF_INET, unix.SOCK_STREAM, 0}
	unixSocket = kind{"unix", unix.AF_UNIX, unix.SOCK_STREAM, 0}
)

func icmpSocket(*scene) (finding, finding) {
	return withheld(
		kind{"ICMP", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
		kind{"ICMPv6", unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6},
	), opens(udpSocket)
}

func rawSocket(*scene) (finding, finding) {
	return withheld(
		kind{"raw ICMP", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		kind{"raw IP", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW},
		kind{"raw TCP", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP},
		kind{"raw ICMPv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
	), opens(tcpSocket, udpSocket)
}

func packetSocket(*scene) (finding, finding) {
	const all = 0x0300 // ETH_P_ALL in network order
	return withheld(
		kind{"packet", unix.AF_PACKET, unix.SOCK_RAW, all},
		kind{"cooked packet", unix.AF_PACKET, unix.SOCK_DGRAM, all},
	), opens(udpSocket)
}

func vsockSocket(*scene) (finding, finding) {
	return withheld(
		kind{"vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		kind{"vsock datagram", unix.AF_VSOCK, unix.SOCK_DGRAM, 0},
	), opens(unixSocket)
}

func kernelSocket(*scene) (finding, finding) {
	return withheld(
		kind{"AF_ALG", unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		kind{"AF_KEY", unix.AF_KEY, unix.SOCK_RAW, 2},
		kind{"AF_XDP", unix.AF_XDP, unix.SOCK_RAW, 0},
		kind{"AF_TIPC", unix.AF_TIPC, unix.SOCK_SEQPACKET, 0},
		kind{"AF_BLUETOOTH", unix.AF_BLUETOOTH, unix.SOCK_RAW, 0},
		kind{"AF_CAN", unix.AF_CAN, unix.SOCK_RAW, 1},
		kind{"AF_RDS", unix.AF_RDS, unix.SOCK_SEQPACKET, 0},
		kind{"SCTP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
	), opens(unixSocket, tcpSocket)
}

func netlinkSocket(*scene) (finding, finding) {
	return withheld(
		kind{"netlink audit", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		kind{"netlink uevent", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
		kind{"netlink netfilter", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
		kind{"netlink xfrm", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM},
		kind{"netlink generic", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC},
		kind{"netlink diag", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_INET_DIAG},
	), opens(unixSocket)
}

// interfaces looks for a network device beside loopback. A device that is down may stay: kernels
// give every network namespace fallback tunnels, and only CAP_NET_ADMIN could bring one up.
func interfaces(*scene) (attack, control finding) {
	up := map[string]bool{}
	loop := false
	rib, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return unclear("list of devices: " + errText(err)), unclear("list of devices: " + errText(err))
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return unclear("list of devices: " + errText(err)), unclear("list of devices: " + errText(err))
	}
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		flags := nativeUint32(m.Data[8:]) // struct ifinfomsg: family, type, index, flags
		if flags&unix.IFF_LOOPBACK != 0 {
			loop = loop || flags&unix.IFF_UP != 0
			continue
		}
		name := "a device without a name"
		if attrs, err := syscall.ParseNetlinkRouteAttr(&m); err == nil {
			for _, a := range attrs {
				if a.Attr.Type == unix.IFLA_IFNAME && len(a.Value) > 1 {
					name = string(a.Value[:len(a.Value)-1])
				}
			}
		}
		if flags&unix.IFF_UP != 0 {
			up[name] = true
		}
	}
	attack = stopped("no device beside loopback is up")
	for name := range up {
		attack = leaked("network device " + name + " is up")
	}
	control = unclear("loopback was not seen up")
	if loop {
		control = works("loopback is up")
	}
	return attack, control
}
