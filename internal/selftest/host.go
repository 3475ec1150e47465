package selftest

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
)

// abstractSockets are Linux's alone.
const abstractSockets = runtime.GOOS == "linux"

// outward is the address this host speaks to the outside from, or its first address beside
// loopback; empty when it has none. Asking the kernel for a route sends nothing and is far cheaper
// than listing the interfaces of a host with a thousand containers.
func outward() string {
	for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		c, err := net.Dial("udp", to)
		if err != nil {
			continue // no route of this family
		}
		a, err := netip.ParseAddrPort(c.LocalAddr().String())
		_ = c.Close() // nothing was sent
		if err == nil && !a.Addr().IsLoopback() && !a.Addr().IsUnspecified() {
			return a.Addr().String()
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "" // nothing known beside loopback, which is tried anyway
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

// maxTable bounds the routing table that is read.
const maxTable = 64 << 10

// neighbours are the addresses of the host's IPv4 gateways, at the port their pages have. Where there
// is no such table to read there are none.
func neighbours() []string {
	f, err := os.Open("/proc/net/route")
	if err != nil {
		return nil // not Linux
	}
	defer f.Close() // only ever read from
	b, err := io.ReadAll(io.LimitReader(f, maxTable))
	if err != nil {
		return nil
	}
	return gateways(string(b))
}

// gateways reads the routing table's text: "eth0 00000000 010200C0 0003 ...", addresses as the
// machine's words in hexadecimal.
func gateways(table string) []string {
	const maxGateways = 4
	var found []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 4 || f[1] != "00000000" {
			continue
		}
		raw, err := hex.DecodeString(f[2])
		if err != nil || len(raw) != 4 {
			continue
		}
		var four [4]byte
		binary.NativeEndian.PutUint32(four[:], binary.BigEndian.Uint32(raw))
		if a := netip.AddrFrom4(four); !a.IsUnspecified() && len(found) < maxGateways {
			found = append(found, netip.AddrPortFrom(a, 80).String())
		}
	}
	return found
}
