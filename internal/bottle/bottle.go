// Package bottle holds the values every other package names a bottle by: its ID, the Name it is
// made from, and the State it is in. It is pure: no IO, nothing to close.
package bottle

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxName bounds a Name so that an ID stays a comfortable file name, host name and label.
const maxName = 40

// Name names an agent or a bottle definition: a lower-case letter, then letters, digits and
// hyphens ("[a-z][a-z0-9-]*"), at most 40 bytes. It is safe as a file name, host name label and
// argument. The zero Name is invalid.
type Name struct{ s string }

// ParseName checks s against the rule of Name.
func ParseName(s string) (Name, error) {
	switch {
	case s == "":
		return Name{}, errors.New("a name can't be empty")
	case len(s) > maxName:
		return Name{}, fmt.Errorf("name %q is longer than %d characters", s, maxName)
	case s[0] < 'a' || s[0] > 'z':
		return Name{}, fmt.Errorf("name %q must start with a lower-case letter (a-z)", s)
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return Name{}, fmt.Errorf("name %q may only hold a-z, 0-9 and '-'", s)
		}
	}
	return Name{s}, nil
}

// String returns the name as it was parsed.
func (n Name) String() string { return n.s }

// IsZero reports whether n is the invalid zero Name.
func (n Name) IsZero() bool { return n.s == "" }

// MarshalText implements encoding.TextMarshaler.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.s), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it refuses what ParseName refuses.
func (n *Name) UnmarshalText(b []byte) error {
	v, err := ParseName(string(b))
	if err != nil {
		return err
	}
	*n = v
	return nil
}

// suffixLen is the number of base36 characters after the agent's name in an ID: 36^5 is 60
// million, so two starts of one agent meet by accident about never, and when they do the second
// is refused, not merged.
const suffixLen = 5

const base36 = "0123456789abcdefghijklmnopqrstuvwxyz"

// ID identifies one bottle on one host: "<agent>-<5 base36>", for example "researcher-m3hxd". It
// names the state folder, the control socket and whatever a backend makes. The zero ID is invalid.
type ID struct{ s string }

// NewID makes an ID for agent from 5 bytes of random.
func NewID(agent Name, random io.Reader) (ID, error) {
	var b [suffixLen]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return ID{}, fmt.Errorf("bottle id: %w", err)
	}
	for i, c := range b {
		// 256 is no multiple of 36: the first four characters are a little likelier. An ID is a
		// name, not a secret.
		b[i] = base36[int(c)%len(base36)]
	}
	return ID{agent.s + "-" + string(b[:])}, nil
}

// ParseID accepts what NewID makes and nothing else.
func ParseID(s string) (ID, error) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 || len(s)-i-1 != suffixLen {
		return ID{}, fmt.Errorf("bottle id %q is not <agent>-<5 characters>, as in researcher-m3hxd", s)
	}
	if _, err := ParseName(s[:i]); err != nil {
		return ID{}, fmt.Errorf("bottle id %q: %w", s, err)
	}
	if strings.Trim(s[i+1:], base36) != "" {
		return ID{}, fmt.Errorf("bottle id %q: the last %d characters must be a-z or 0-9", s, suffixLen)
	}
	return ID{s}, nil
}

// String returns the ID's text.
func (id ID) String() string { return id.s }

// IsZero reports whether id is the invalid zero ID.
func (id ID) IsZero() bool { return id.s == "" }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.s), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it refuses what ParseID refuses.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
