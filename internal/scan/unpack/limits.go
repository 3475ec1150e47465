package unpack

import "fmt"

// Limits bounds what one body may cost. A zero field means its default.
type Limits struct {
	// Bytes is how many bytes all layers together may decode to; 1 GiB.
	Bytes int64
	// Ratio is how many bytes may be decoded for each one read, all layers together, once 4 MiB have
	// been decoded; 200. Text compresses 3 to 30 times, deflate's best is 1032 times.
	Ratio int64
	// Window is the largest history in bytes a decoder may keep; 8 MiB, which is all that RFC 9659
	// lets a zstd content coding use. Brotli with 16 MiB (lgwin 24) is refused by the default.
	Window int64
	// Members is how many members all archives of a body may have; 100,000. A zip costs 64 bytes of
	// memory for each.
	Members int
	// Depth is how many containers may be nested, a tar.gz being two; 4. At most 8.
	Depth int
}

// slack is the decoded size below which no ratio is a bomb: an empty bitmap is none.
const slack = 4 << 20

// maxDepth bounds Limits.Depth: each level costs a decoder and its window.
const maxDepth = 8

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 1 << 30
	}
	if l.Ratio <= 0 {
		l.Ratio = 200
	}
	if l.Window <= 0 {
		l.Window = 8 << 20
	}
	if l.Members <= 0 {
		l.Members = 100_000
	}
	if l.Depth <= 0 {
		l.Depth = 4
	}
	l.Depth = min(l.Depth, maxDepth)
	return l
}

// meter holds one body to its limits, over all its layers.
type meter struct {
	limits  Limits
	in, out int64
	members int
}

func newMeter(l Limits) *meter { return &meter{limits: l.withDefaults()} }

// count adds n bytes that a decoder has given.
func (m *meter) count(n int) error {
	m.out += int64(n)
	if m.out > m.limits.Bytes {
		return &BombError{What: "decoded bytes", Limit: m.limits.Bytes}
	}
	if m.out > slack && m.out/m.limits.Ratio > m.in {
		return &BombError{What: "decoded bytes for each byte sent", Limit: m.limits.Ratio}
	}
	return nil
}

// countMember adds one.
func (m *meter) countMember() error {
	if m.members++; m.members > m.limits.Members {
		return &BombError{What: "archive members", Limit: int64(m.limits.Members)}
	}
	return nil
}

// A BombError tells that a body passes a limit.
type BombError struct {
	What  string // what there was too much of
	Limit int64  // how much is allowed
}

func (e *BombError) Error() string {
	return fmt.Sprintf("more than %d %s: too much to look into, send less at a time or uncompressed", e.Limit, e.What)
}

// An UnknownError names a content coding nothing here can undo.
type UnknownError struct {
	Coding string // as it was sent, hostile
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("content coding %.40q can't be looked into: use gzip, deflate, br, zstd or none", e.Coding)
}

// Reason is why a container stays closed.
type Reason uint8

// The reasons.
const (
	Unsupported Reason = iota + 1 // a format or method nothing here reads
	Encrypted                     // a member needs a password
	Damaged                       // it broke off or is malformed; what came before was visited
	TooDeep                       // it lies deeper than Limits.Depth
	Ambiguous                     // its directory and its members disagree about what is in it
)

func (r Reason) String() string {
	switch r {
	case Unsupported:
		return "not supported"
	case Encrypted:
		return "encrypted"
	case Damaged:
		return "damaged"
	case TooDeep:
		return "nested too deep"
	case Ambiguous:
		return "ambiguous"
	}
	return "unknown"
}

// An OpaqueError tells of a container, or a member of one, that could not be looked into. The walk
// went on past it.
type OpaqueError struct {
	Kind   Kind   // of the container
	In     string // the containers around it, as Member.In
	Reason Reason
}

func (e *OpaqueError) Error() string {
	where := ""
	if e.In != "" {
		where = " inside " + e.In
	}
	return fmt.Sprintf("%s data%s can't be looked into: %s", e.Kind, where, e.Reason)
}
