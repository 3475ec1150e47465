package egress

import (
	"net/netip"
	"sync"
)

// block is a range of addresses that is not the public internet.
type block struct {
	prefix netip.Prefix
	kind   string
	shut   bool // no rule can open it
}

// blocks are looked up in order. They are parsed when the first connection is made, not when the
// program starts.
var blocks = sync.OnceValue(func() []block {
	open := func(p, kind string) block { return block{netip.MustParsePrefix(p), kind, false} }
	shut := func(p, kind string) block { return block{netip.MustParsePrefix(p), kind, true} }
	return []block{
		open("127.0.0.0/8", "a loopback address"),
		open("10.0.0.0/8", "a private address"),
		open("172.16.0.0/12", "a private address"),
		open("192.168.0.0/16", "a private address"),
		open("169.254.0.0/16", "a link-local address"),
		open("100.64.0.0/10", "a carrier's shared address (CGNAT)"),
		open("198.18.0.0/15", "an address for benchmarks"),
		open("192.0.2.0/24", "an address for documentation"),
		open("198.51.100.0/24", "an address for documentation"),
		open("203.0.113.0/24", "an address for documentation"),
		shut("0.0.0.0/8", "an address of this host"),
		shut("192.0.0.0/24", "a protocol assignment"),
		shut("192.88.99.0/24", "a 6to4 relay"),
		shut("224.0.0.0/4", "a multicast address"),
		shut("240.0.0.0/4", "a reserved address"),
		open("::1/128", "a loopback address"),
		open("fc00::/7", "a private address (ULA)"),
		open("fe80::/10", "a link-local address"),
		open("2001:db8::/32", "an address for documentation"),
		shut("2001::/32", "a Teredo address, which hides another one"),
	}
})

// public6 is where public IPv6 addresses are; everything outside is something else.
var public6 = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20}), 3)

// special returns what kind of non-public address a is, and the block a rule can name it within;
// the block is invalid when no rule can. Both are empty for public addresses.
func special(a netip.Addr) (kind string, within netip.Prefix) {
	a = a.Unmap()
	if a.Zone() != "" {
		return "an address on a link of this machine", netip.Prefix{}
	}
	if v4, ok := embedded(a); ok {
		if k, _ := special(v4); k != "" {
			return k + " inside an IPv6 one", netip.Prefix{}
		}
		return "", netip.Prefix{}
	}
	for _, b := range blocks() {
		if b.prefix.Contains(a) {
			if b.shut {
				return b.kind, netip.Prefix{}
			}
			return b.kind, b.prefix
		}
	}
	if a.Is6() && !public6.Contains(a) {
		return "not a public address", netip.Prefix{}
	}
	return "", netip.Prefix{}
}

// embedded returns the IPv4 address that a gateway would make of a: 64:ff9b::/96 (NAT64) and
// 2002::/16 (6to4).
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}:
		return netip.AddrFrom4([4]byte(b[12:])), true
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// metadata reports whether a is where a cloud tells its machines their credentials.
func metadata(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if v4, ok := embedded(a); ok {
		a = v4
	}
	switch a.String() {
	case "169.254.169.254", // AWS, Google, Azure, Oracle and most others
		"169.254.170.2", "169.254.170.23", "fd00:ec2::23", // AWS containers
		"fd00:ec2::254",   // AWS over IPv6
		"fd20:ce::254",    // Google over IPv6
		"100.100.100.200", // Alibaba
		"168.63.129.16",   // Azure's host
		"192.0.0.192",     // Oracle, old
		"169.254.0.23",    // Tencent
		"169.254.42.42",   // Scaleway
		"fd00:42::42":     // Scaleway over IPv6
		return true
	}
	return false
}
