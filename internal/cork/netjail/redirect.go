//go:build linux

package netjail

import (
	"encoding/binary"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// redirect sends every TCP connection made here to anyPort, but for those to loopback addresses,
// which are the agent's own servers. Connection tracking keeps where it wanted to go.
func redirect(v6 bool) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	family := nftables.TableFamilyINet
	if !v6 {
		family = nftables.TableFamilyIPv4
	}
	table := c.AddTable(&nftables.Table{Family: family, Name: "bottle"})
	accept := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{
		Name: "out", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest, Policy: &accept,
	})
	toLoopback4 := []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 1}, // first byte of the destination
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{127}},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
	toLoopback6 := []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net.IPv6loopback},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
	if v6 {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(ofFamily(unix.NFPROTO_IPV6), dnsToLoopback()...)})
		// In the table of both families a header's layout must be known before it is read.
		toLoopback4 = append(ofFamily(unix.NFPROTO_IPV4), toLoopback4...)
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(ofFamily(unix.NFPROTO_IPV6), toLoopback6...)})
	}
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: toLoopback4})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, anyPort)},
		&expr.Redir{RegisterProtoMin: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	}})
	return c.Flush()
}

// dnsToLoopback sends UDP to port 53 of any address to the loopback address. IPv6 needs it for the
// answers: the kernel gives a question ::1 as its source, so that an answer to it would come from
// there as well, if connection tracking didn't put the address that was asked in its place. An
// IPv4 question to an address that is local has that address as its source, and so has the answer.
func dnsToLoopback() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, // destination port
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, dnsPort)},
		&expr.Redir{},
	}
}

func ofFamily(family byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
	}
}
