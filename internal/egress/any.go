package egress

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// anyConn serves a connection that was dialled to an address outside and caught.
func (s *server) anyConn(k *socket) {
	f := &flow{socket: k, s: s, via: audit.ViaTransparent, start: time.Now()}
	d, ok := k.Conn.(wire.Destined)
	if !ok {
		s.e.recordFlow(f, policy.Verdict{Why: "the connection does not say where it was meant to go"})
		_ = k.Close() // a listener of the wrong kind: fail closed
		return
	}
	dest := d.Destination()
	addr := dest.Addr().Unmap()
	f.bare, f.port = netip.AddrPortFrom(addr, dest.Port()), dest.Port()
	f.host = addr.WithZone("").String()
	if name, ok := s.e.names.owner(addr); ok {
		f.host, f.bare = name, netip.AddrPort{}
	}
	if v := s.e.reach(f.host, f.port); !v.Allowed() {
		if f.bare.IsValid() {
			v = bareVerdict(f.bare, v)
		}
		f.denied = &v
	} else {
		f.opaque = s.e.uninspected(f.host, f.port)
	}
	s.carry(f)
}

// bareVerdict explains that an address dialled without a name can't be matched with a rule.
func bareVerdict(a netip.AddrPort, v policy.Verdict) policy.Verdict {
	if v.Rule == "" {
		v.Why = fmt.Sprintf("%s was dialled as a bare address, and no rule of this bottle names it: connect to a host by its name", a)
	}
	return v
}

// rejudge gives a denied bare address the verdict of the host it claims to be for (by SNI or Host),
// when that host would be denied as well: then the denial names what was really wanted. A claim
// never allows anything.
func (f *flow) rejudge(claim string) {
	name, err := policy.Canonical(claim)
	if err != nil || isAddr(name) {
		return
	}
	if v := f.s.e.reach(name, f.port); !v.Allowed() {
		f.denied, f.host = &v, name
	}
}
