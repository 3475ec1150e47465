//go:build linux

package netjail

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// unsealed opens the sockets without a seal, in a network that isn't ours: for leaky builds, in
// no other is it compiled in. Ports are any that are free, but for the proxy's.
func unsealed() (s Sockets, err error) {
	if s.Proxy, err = listen(unix.SOCK_STREAM, netip.AddrPortFrom(local4, ProxyPort)); err != nil {
		return s, err
	}
	if s.DNS, err = listen(unix.SOCK_DGRAM, netip.AddrPortFrom(local4, 0)); err != nil {
		return s, err
	}
	other, err := listen(unix.SOCK_STREAM, netip.AddrPortFrom(local4, 0))
	s.Any = append(s.Any, other)
	return s, err
}
