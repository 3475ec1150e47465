package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Bounds of DNS: RFC 1035, 2.3.4.
const (
	maxHost  = 253
	maxLabel = 63
)

// Host names whom a rule speaks of: one DNS name ("api.example.com"), every name below a suffix
// ("*.example.com", which does not include example.com itself), or one IP address. It is
// canonical: lower case, no trailing dot, letters, digits and hyphens only. The zero Host matches
// nothing. Hosts are comparable.
type Host struct {
	name string // canonical; of a wildcard, the suffix without "*."
	wild bool
	ip   bool
}

// ParseHost parses a DNS name, "*.suffix", or an IP address in its canonical form. Names outside
// ASCII are refused: they are to be written in punycode, where two names that look alike differ.
func ParseHost(s string) (Host, error) {
	if suffix, ok := strings.CutPrefix(s, "*."); ok {
		name, ip, err := canonical(suffix)
		if err != nil {
			return Host{}, err
		}
		if ip {
			return Host{}, fmt.Errorf("host %s: an address has no names below it; list addresses one by one", quote(s))
		}
		return Host{name: name, wild: true}, nil
	}
	if strings.Contains(s, "*") {
		return Host{}, fmt.Errorf("host %s: '*' may only stand for whole labels at the front, as in *.example.com", quote(s))
	}
	name, ip, err := canonical(s)
	if err != nil {
		return Host{}, err
	}
	return Host{name: name, ip: ip}, nil
}

// Canonical returns the one spelling of a host name or IP address under which it is matched,
// resolved and dialled: lower case, without a trailing dot or an IPv6 address's brackets. It
// refuses everything else, most of all what some programs read as an address and others as a
// name (0x7f000001, 127.1).
func Canonical(s string) (string, error) {
	name, _, err := canonical(s)
	return name, err
}

func canonical(s string) (name string, ip bool, err error) {
	if s == "" {
		return "", false, errors.New("a host can't be empty")
	}
	if strings.IndexByte(s, ':') >= 0 || s[0] == '[' {
		a, err := canonicalV6(s)
		return a, true, err
	}
	name = strings.TrimSuffix(s, ".")
	if len(name) == 0 || len(name) > maxHost {
		return "", false, fmt.Errorf("host %s must have 1 to %d characters", quote(s), maxHost)
	}
	upper := false
	start, numeric := 0, true // of the label at work
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			if err := checkLabel(s, name[start:i]); err != nil {
				return "", false, err
			}
			if i < len(name) {
				start, numeric = i+1, true
			}
			continue
		}
		switch c := name[i]; {
		case c >= '0' && c <= '9':
		case c >= 'a' && c <= 'z', c == '-':
			numeric = false
		case c >= 'A' && c <= 'Z':
			numeric, upper = false, true
		case c >= 0x80:
			return "", false, fmt.Errorf("host %s is not ASCII: write it in punycode, each such label as xn-- and its code", quote(s))
		default:
			return "", false, fmt.Errorf("host %s may only hold letters, digits, '-' and '.'", quote(s))
		}
	}
	if upper {
		name = strings.ToLower(name)
	}
	if numeric || looksHex(name[start:]) {
		a, err := netip.ParseAddr(name)
		if err != nil || !a.Is4() || a.String() != s {
			return "", false, fmt.Errorf("host %s is an IPv4 address in disguise: write it as four decimal numbers", quote(s))
		}
		return name, true, nil
	}
	return name, false, nil
}

func checkLabel(host, label string) error {
	switch {
	case label == "":
		return fmt.Errorf("host %s has an empty label", quote(host))
	case len(label) > maxLabel:
		return fmt.Errorf("host %s has a label of more than %d characters", quote(host), maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("host %s: no label may start or end with '-'", quote(host))
	}
	return nil
}

// looksHex reports whether a name ending in label is read as an IPv4 address by programs that
// follow inet_aton or the URL standard.
func looksHex(label string) bool {
	digits, ok := strings.CutPrefix(label, "0x")
	return ok && strings.Trim(digits, "0123456789abcdef") == ""
}

func canonicalV6(s string) (string, error) {
	in := s
	if s[0] == '[' {
		if s[len(s)-1] != ']' {
			return "", fmt.Errorf("host %s lacks its closing bracket", quote(in))
		}
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("host %s is neither a name nor an address (ports are written apart)", quote(in))
	case a.Zone() != "":
		return "", fmt.Errorf("host %s: an address with a zone names a link of this machine", quote(in))
	case a.Is4In6():
		return "", fmt.Errorf("host %s: write the IPv4 address %s itself", quote(in), a.Unmap())
	case a.Is4():
		return "", fmt.Errorf("host %s: an IPv4 address has no brackets", quote(in))
	case a.String() != strings.ToLower(s):
		return "", fmt.Errorf("host %s: write the address as %s", quote(in), a)
	}
	return a.String(), nil
}

// quote makes hostile text fit for an error.
func quote(s string) string { return `"` + inert.Text(s, 120) + `"` }

// String returns the host as a manifest writes it.
func (h Host) String() string {
	if h.wild {
		return "*." + h.name
	}
	return h.name
}

// IsZero reports whether h is the zero Host.
func (h Host) IsZero() bool { return h.name == "" }

// Wildcard reports whether h is "*.suffix".
func (h Host) Wildcard() bool { return h.wild }

// Addr returns the address h is, when it is one.
func (h Host) Addr() (netip.Addr, bool) {
	if !h.ip {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(h.name)
	return a, err == nil
}

// Match reports whether name, in any spelling Canonical accepts, is what h speaks of.
func (h Host) Match(name string) bool {
	if h.IsZero() {
		return false
	}
	name, ip, err := canonical(name)
	if err != nil || ip != h.ip {
		return false
	}
	if !h.wild {
		return name == h.name
	}
	sub, ok := strings.CutSuffix(name, h.name)
	return ok && len(sub) > 1 && sub[len(sub)-1] == '.'
}

// MarshalText implements encoding.TextMarshaler.
func (h Host) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it refuses what ParseHost refuses.
func (h *Host) UnmarshalText(b []byte) error {
	v, err := ParseHost(string(b))
	if err != nil {
		return err
	}
	*h = v
	return nil
}
