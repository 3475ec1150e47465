//go:build linux

package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// queryID marks our queries; the sockets are connected and the bottle has one peer, so that
// nothing is won by a random one.
const queryID = 0x5eed

// query packs a recursive question about name.
func query(name string, kind dnsmessage.Type) []byte {
	n, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return nil // an impossible name is asked as an empty datagram, which nothing answers
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: queryID, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// overTCP frames a query for TCP.
func overTCP(q []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
}

// answered reads a DNS answer: its result code and its first IPv4 address, if any.
func answered(b []byte) (code dnsmessage.RCode, addr netip.Addr, records int, err error) {
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		return 0, addr, 0, err
	}
	if m.ID != queryID || !m.Response {
		return 0, addr, 0, errors.New("not an answer to the question")
	}
	for _, r := range m.Answers {
		if a, ok := r.Body.(*dnsmessage.AResource); ok && !addr.IsValid() {
			addr = netip.AddrFrom4(a.A)
		}
	}
	return m.RCode, addr, len(m.Answers), nil
}

// unknownName judges a lookup that must end in NXDOMAIN, given by the engine.
func unknownName(s *scene, t *talk) finding {
	if t.reply() == nil {
		return unclear(fmt.Sprintf("dns %s: %s instead of NXDOMAIN", t, errText(whyEnded(t))))
	}
	code, _, records, err := answered(t.reply())
	switch {
	case err != nil:
		return leaked(fmt.Sprintf("dns %s: answered something that is no DNS: %v", t, err))
	case records > 0:
		return leaked(fmt.Sprintf("dns %s: an unlisted name resolved", t))
	case code == dnsmessage.RCodeNameError:
		return stopped(fmt.Sprintf("dns %s: NXDOMAIN", t))
	default:
		return leaked(fmt.Sprintf("dns %s: answered %s instead of NXDOMAIN", t, code))
	}
}

// elsewhereUnknown is unknownName for a question to a resolver that is not the bottle's own.
func elsewhereUnknown(s *scene, t *talk) finding {
	if s.req.Narrow && t.reply() == nil {
		return unanswered(s, t)
	}
	return unknownName(s, t)
}

// noResolver judges a DNS question over TCP: nothing that speaks DNS may answer it.
func noResolver(s *scene, t *talk) finding {
	got := t.reply()
	if len(got) > 2 {
		if _, _, _, err := answered(got[2:]); err == nil {
			return leaked(fmt.Sprintf("dns over tcp %s: answered", t))
		}
	}
	switch {
	case len(got) > 0:
		return refused(s, t)
	case t.err == nil, errors.Is(t.err, unix.ECONNRESET), errors.Is(t.err, unix.ECONNREFUSED):
		return stopped(fmt.Sprintf("dns over tcp %s: closed", t))
	case s.req.Narrow:
		return nowhere(s, t)
	}
	return unclear(fmt.Sprintf("dns over tcp %s: %s", t, errText(t.err)))
}

// resolves judges the DNS control: the control host has an address of the synthetic range.
func resolves(s *scene, t *talk) finding {
	addr, err := controlAddr(t, s.req.Narrow)
	if err != nil {
		return unclear(err.Error())
	}
	return works(fmt.Sprintf("%s by %s is %s", s.req.ControlHost, t, addr))
}

// controlAddr is the address that a lookup of the control host yielded, of the range that names get
// theirs from in a bottle whose network is narrow, or not.
func controlAddr(t *talk, narrow bool) (netip.Addr, error) {
	if t.reply() == nil {
		return netip.Addr{}, fmt.Errorf("dns %s: control host: %w", t, whyEnded(t))
	}
	code, addr, _, err := answered(t.reply())
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Errorf("dns %s: control host: %w", t, err)
	case !addr.IsValid():
		return netip.Addr{}, fmt.Errorf("dns %s: control host: %s without an address", t, code)
	case !wire.NamePool(narrow).Contains(addr):
		return netip.Addr{}, fmt.Errorf("dns %s: control host is %s, which is not of %s", t, addr, wire.NamePool(narrow))
	}
	return addr, nil
}

// whyEnded is a talk's error; a peer that closed without a word has one too.
func whyEnded(t *talk) error {
	if t.err != nil {
		return t.err
	}
	return errors.New("closed without an answer")
}
