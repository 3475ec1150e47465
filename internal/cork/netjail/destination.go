//go:build linux

package netjail

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Destination returns the address and port the maker of c, a connection accepted from one of
// Sockets.Any, dialled. It may be called in any network namespace. A connection that was made to
// the listener's own address has that, a loopback address, as its destination.
func Destination(c *net.TCPConn) netip.AddrPort {
	local, _ := c.LocalAddr().(*net.TCPAddr)
	if local == nil {
		return netip.AddrPort{}
	}
	dst := local.AddrPort()
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	raw, err := c.SyscallConn()
	if err != nil {
		return dst // closed; what is done with it will fail as well
	}
	_ = raw.Control(func(fd uintptr) { // the same
		if original, ok := originalDestination(int(fd), dst.Addr().Is6()); ok {
			dst = original
		}
	})
	return dst
}

// originalDestination asks connection tracking; there is no answer for a connection that was not
// redirected.
func originalDestination(fd int, v6 bool) (netip.AddrPort, bool) {
	// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST share their number.
	const original = unix.SO_ORIGINAL_DST
	if v6 {
		var sa unix.RawSockaddrInet6
		if !sockoptAddress(fd, unix.SOL_IPV6, original, unsafe.Pointer(&sa), unix.SizeofSockaddrInet6) {
			return netip.AddrPort{}, false
		}
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), bigEndian(sa.Port)), true
	}
	var sa unix.RawSockaddrInet4
	if !sockoptAddress(fd, unix.SOL_IP, original, unsafe.Pointer(&sa), unix.SizeofSockaddrInet4) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), bigEndian(sa.Port)), true
}

func sockoptAddress(fd, level, name int, into unsafe.Pointer, size uint32) bool {
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(into), uintptr(unsafe.Pointer(&size)), 0)
	return e == 0
}

// bigEndian reads a port stored in network order.
func bigEndian(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}
