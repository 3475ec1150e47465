//go:build linux

package netjail

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// loopback is the index of the loopback device, the first one of every network namespace.
const loopback = 1

// errRoute says which step failed.
var errRoute = errors.New("route every address to loopback")

// routes brings the loopback device up and makes every address local to it. It reports whether
// the kernel does IPv6; where it doesn't, there is nothing to close.
func routes() (v6 bool, err error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return false, fmt.Errorf("netlink: %w", err)
	}
	defer c.Close() // a socket with nothing to flush

	if _, err := c.Execute(request(unix.RTM_NEWLINK, 0, linkUp())); err != nil {
		return false, fmt.Errorf("bring up the loopback device: %w", err)
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		// First the one that makes every address local, then a default route for programs that look
		// for one before they believe in a network.
		for _, r := range [][]byte{
			route(family, unix.RT_TABLE_LOCAL, unix.RTN_LOCAL, unix.RT_SCOPE_HOST),
			route(family, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, unix.RT_SCOPE_LINK),
		} {
			_, err := c.Execute(request(unix.RTM_NEWROUTE, netlink.Create|netlink.Replace, r))
			if err == nil {
				continue
			}
			if family == unix.AF_INET6 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES)) {
				return false, nil // no IPv6, or switched off on this device (EACCES)
			}
			return false, fmt.Errorf("%w: %w", errRoute, err)
		}
	}
	return true, nil
}

func request(kind netlink.HeaderType, flags netlink.HeaderFlags, data []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   data,
	}
}

// linkUp is a struct ifinfomsg that sets IFF_UP on the loopback device.
func linkUp() []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], loopback)
	binary.NativeEndian.PutUint32(b[8:], unix.IFF_UP)  // flags
	binary.NativeEndian.PutUint32(b[12:], unix.IFF_UP) // which of them to change
	return b
}

// route is a struct rtmsg for every destination of family, by the loopback device.
func route(family, table, kind, scope uint8) []byte {
	b := []byte{family, 0, 0, 0, table, unix.RTPROT_STATIC, scope, kind, 0, 0, 0, 0}
	attr := make([]byte, 8) // struct rtattr, then the device
	binary.NativeEndian.PutUint16(attr, 8)
	binary.NativeEndian.PutUint16(attr[2:], unix.RTA_OIF)
	binary.NativeEndian.PutUint32(attr[4:], loopback)
	return append(b, attr...)
}
