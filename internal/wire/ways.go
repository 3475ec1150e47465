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
