package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Side says which end of the wire a Session is. Streams opened by the warden have odd numbers,
// those opened by cork even ones, so the two can never collide.
type Side uint8

// The sides.
const (
	Warden Side = iota + 1
	Cork
)

// String returns "warden" or "cork".
func (s Side) String() string {
	switch s {
	case Warden:
		return "warden"
	case Cork:
		return "cork"
	}
	return fmt.Sprintf("side(%d)", uint8(s))
}

func (s Side) other() Side {
	if s == Warden {
		return Cork
	}
	return Warden
}

// maxHeader bounds the header of a stream opened by s, in bytes of JSON. A command with its
// environment and prompt comes from the warden; what comes from the bottle is an address.
func (s Side) maxHeader() int {
	if s == Warden {
		return 256 << 10
	}
	return 4 << 10
}

func (s Side) firstID() uint32 {
	if s == Warden {
		return 1
	}
	return 2
}

// Bounds of the protocol. Together they bound what a hostile other side can make us hold:
// acceptLimit first windows, plus growthBudget, plus acceptLimit headers.
const (
	protocolVersion = 1

	headSize  = 8
	maxData   = 64 << 10
	maxKind   = 32
	maxReason = 512

	// firstWindow is what may be sent on a stream before its reader has read anything; a stream
	// that is read quickly is granted fullWindow, as long as growthBudget lasts.
	firstWindow  = 64 << 10
	fullWindow   = 512 << 10
	growthBudget = 32 << 20

	// openLimit is how many streams one side keeps open. The other side accepts more than that,
	// since it may notice a little later that a stream has ended.
	openLimit    = 512
	acceptLimit  = 2 * openLimit
	backlogLimit = 64

	// outRoom is how much may wait to be written before senders of data are held back; outLimit
	// is where a peer that stopped reading, yet causes answers, has its session ended.
	outRoom  = 256 << 10
	outLimit = 4 << 20
)

// muxType is the first byte of every frame of the session protocol: type, length (3 bytes),
// stream number (4 bytes), big endian, then the payload.
type muxType byte

const (
	muxHello  muxType = iota + 1 // first frame of each side: magic, version, side
	muxOpen                      // kind length, kind, header
	muxData                      // 1..maxData bytes
	muxWindow                    // 4 bytes: how much more may be sent
	muxEOF                       // the sender has sent all
	muxClose                     // the sender has sent all and reads no more
	muxReset                     // both directions are void; payload is the reason
)

const helloMagic = "cbw"

const helloSize = len(helloMagic) + 2

// ErrProtocol is wrapped by every error that says the other side broke the protocol.
var ErrProtocol = errors.New("wire protocol violation")

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

type muxHead struct {
	typ muxType
	id  uint32
	n   int
}

func parseHead(b []byte) muxHead {
	w := binary.BigEndian.Uint32(b)
	return muxHead{muxType(w >> 24), binary.BigEndian.Uint32(b[4:]), int(w & 0xffffff)}
}

func appendHead(b []byte, t muxType, id uint32, n int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(t)<<24|uint32(n))
	return binary.BigEndian.AppendUint32(b, id)
}

// check refuses a frame by its head alone, before its payload is read.
func (h muxHead) check(from Side) error {
	var low, high int
	switch h.typ {
	case muxHello:
		low, high = helloSize, helloSize
	case muxOpen:
		low, high = 2, 1+maxKind+from.maxHeader()
	case muxData:
		low, high = 1, maxData
	case muxWindow:
		low, high = 4, 4
	case muxEOF, muxClose:
	case muxReset:
		high = maxReason
	default:
		return violation("unknown frame type %d", h.typ)
	}
	if h.n < low || h.n > high {
		return violation("frame type %d of %d bytes, allowed are %d to %d", h.typ, h.n, low, high)
	}
	if (h.id == 0) != (h.typ == muxHello) {
		return violation("frame type %d on stream %d", h.typ, h.id)
	}
	return nil
}

func appendHello(b []byte, side Side) []byte {
	b = appendHead(b, muxHello, 0, helloSize)
	b = append(b, helloMagic...)
	return append(b, protocolVersion, byte(side))
}

func checkHello(b []byte, want Side) error {
	switch {
	case string(b[:len(helloMagic)]) != helloMagic:
		return violation("the other side does not speak this protocol")
	case b[len(helloMagic)] != protocolVersion:
		return violation("the other side speaks version %d, this one %d", b[len(helloMagic)], protocolVersion)
	case Side(b[len(helloMagic)+1]) != want:
		return violation("the other side says it is the %s, expected the %s", Side(b[len(helloMagic)+1]), want)
	}
	return nil
}
