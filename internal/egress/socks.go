package egress

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// SOCKS5's numbers: RFC 1928.
const (
	socksVersion     = 5
	socksNoAuth      = 0
	socksNoMethod    = 0xff
	socksConnect     = 1
	socksIPv4        = 1
	socksDomain      = 3
	socksIPv6        = 4
	socksOK          = 0
	socksNotAllowed  = 2
	socksBadCommand  = 7
	socksBadAddrType = 8
)

var errSOCKS = errors.New("not SOCKS5 as this port speaks it")

// socksRequest is what a client asks for.
type socksRequest struct {
	command byte
	host    string // as sent: any bytes
	port    uint16
}

// socks speaks SOCKS5 up to the reply and carries the flow on. It owns f.
func (s *server) socks(f *flow) {
	_ = f.SetDeadline(time.Now().Add(s.e.cfg.Limits.First)) // a dead socket fails the reads below
	if err := greetSOCKS(f); err != nil {
		s.e.recordFlow(f, policy.Verdict{Why: "malformed SOCKS5 greeting", Ask: "# nothing: use SOCKS5 without authentication\n"})
		_ = f.Close()
		return
	}
	req, code, err := readSOCKS(f)
	if err != nil {
		s.e.recordFlow(f, policy.Verdict{Why: "malformed SOCKS5 request", Ask: "# nothing: use SOCKS5 CONNECT\n"})
		s.replySOCKS(f, code)
		return
	}
	f.port = req.port
	if req.command != socksConnect {
		f.host = s.e.safe(req.host)
		s.e.recordFlow(f, policy.Verdict{Why: "SOCKS5 BIND and UDP ASSOCIATE are refused: nothing comes into a bottle, and no UDP leaves it", Ask: "# nothing: use SOCKS5 CONNECT\n"})
		s.replySOCKS(f, socksBadCommand)
		return
	}
	name, err := s.e.target(req.host)
	if err != nil {
		f.host = s.e.safe(req.host)
		s.e.recordFlow(f, s.e.reach(req.host, req.port))
		s.replySOCKS(f, socksNotAllowed)
		return
	}
	f.host = name
	if v := s.e.reach(name, req.port); !v.Allowed() {
		s.e.recordFlow(f, v)
		s.replySOCKS(f, socksNotAllowed)
		return
	}
	f.opaque = s.e.uninspected(name, req.port)
	if !s.replySOCKS(f, socksOK) {
		return
	}
	_ = f.SetDeadline(time.Time{}) // a dead socket fails the read that follows
	s.carry(f)
}

// greetSOCKS reads the greeting and chooses "no authentication": who is asking is known by the
// socket, and a name and password would be one more thing to leak.
func greetSOCKS(rw io.ReadWriter) error {
	var head [2]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return err
	}
	if head[0] != socksVersion {
		return errSOCKS
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(rw, methods); err != nil {
		return err
	}
	for _, m := range methods {
		if m == socksNoAuth {
			_, err := rw.Write([]byte{socksVersion, socksNoAuth})
			return err
		}
	}
	if _, err := rw.Write([]byte{socksVersion, socksNoMethod}); err != nil {
		return err
	}
	return errSOCKS
}

// readSOCKS reads a request. On error it returns the code to reply with.
func readSOCKS(r io.Reader) (socksRequest, byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return socksRequest{}, socksNotAllowed, err
	}
	if head[0] != socksVersion || head[2] != 0 {
		return socksRequest{}, socksNotAllowed, errSOCKS
	}
	req := socksRequest{command: head[1]}
	size := 0
	switch head[3] {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksDomain:
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return socksRequest{}, socksNotAllowed, err
		}
		size = int(n[0])
	default:
		return socksRequest{}, socksBadAddrType, errSOCKS
	}
	b := make([]byte, size+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return socksRequest{}, socksNotAllowed, err
	}
	if head[3] == socksDomain {
		req.host = string(b[:size])
	} else if a, ok := netip.AddrFromSlice(b[:size]); ok {
		req.host = a.Unmap().String()
	}
	req.port = binary.BigEndian.Uint16(b[size:])
	if req.host == "" || req.port == 0 {
		return socksRequest{}, socksNotAllowed, errSOCKS
	}
	return req, socksOK, nil
}

// replySOCKS answers with code and reports whether the connection goes on; otherwise it is closed.
func (s *server) replySOCKS(f *flow, code byte) bool {
	_, err := f.Write([]byte{socksVersion, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
	if err != nil || code != socksOK {
		_ = f.Close() // refused, or gone already
		return false
	}
	return true
}
