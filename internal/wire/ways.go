package wire

import (
	"net"
	"net/netip"
)

// Ways are a bottle's ways out, as listeners for the egress engine to serve. On the native
// backend they are the kernel's own sockets, made inside the bottle and handed out; elsewhere
// they are streams of the wire. They are closed with the bottle.
type Ways struct {
	// Proxy is 127.0.0.1:3128 in the bottle: HTTP proxy, CONNECT and SOCKS5h on one port.
	Proxy net.Listener
	// Any yields every other TCP connection out of the bottle, whatever its address and port. Its
	// connections implement Destined.
	Any net.Listener
	// DNS is UDP port 53 of every address in the bottle.
	DNS net.PacketConn
	// Narrow says that the bottle's network has no addresses but loopback's: names must be given
	// those, Any sees the web's ports alone, and nothing else can be dialled at all.
	Narrow bool
}

// The ranges that names in a bottle get their addresses from, of one size.
var (
	// widePool is set aside for benchmarks (RFC 2544), so that no host anywhere is in it.
	widePool = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), 15)
	// narrowPool is a part of loopback's range that programs don't pick for their own servers.
	narrowPool = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 18, 0, 0}), 15)
)

// NamePool returns the range that names get their addresses from in a bottle whose network is
// narrow, or not.
func NamePool(narrow bool) netip.Prefix {
	if narrow {
		return narrowPool
	}
	return widePool
}

// Destined is implemented by connections that know where their maker wanted to go.
type Destined interface {
	// Destination is the address and port the program in the bottle dialled.
	Destination() netip.AddrPort
}

// Close closes all three.
func (w Ways) Close() {
	for _, c := range []interface{ Close() error }{w.Proxy, w.Any, w.DNS} {
		if c != nil {
			_ = c.Close() // closing twice is the only way it fails, and that is no news
		}
	}
}
