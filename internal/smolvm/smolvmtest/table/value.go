package table

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check says what is wrong with a value, as the end of a message: ": reason", or "" if nothing is.
func check(a *Arg, value string) string {
	if len(a.Values) > 0 {
		if slices.Contains(a.Values, value) {
			return ""
		}
		return "\n  [possible values: " + strings.Join(a.Values, ", ") + "]"
	}
	var err error
	switch a.Parser {
	case "parse_image":
		if strings.TrimSpace(value) == "" {
			err = errors.New("image reference must not be empty")
		}
	case "parse_size_bytes":
		_, err = Size(value)
	case "parse_gpu_vram_mib":
		if n, bad := strconv.ParseUint(value, 10, 32); bad != nil {
			err = fmt.Errorf("'%s' is not a valid MiB value", value)
		} else if n == 0 {
			err = errors.New("--gpu-vram must be a positive number of MiB; use a value >= 1 or omit the flag to get the default")
		}
	case "PortMapping::parse":
		_, err = Port(value)
	case "parse_cidr":
		if _, bad := netip.ParsePrefix(value); bad != nil {
			if _, bad := netip.ParseAddr(value); bad != nil {
				err = fmt.Errorf("invalid CIDR '%s': expected format like 10.0.0.0/8 or 1.1.1.1", value)
			}
		}
	case "parse_duration":
		_, err = Duration(value)
	default:
		err = checkType(strings.TrimSuffix(strings.TrimPrefix(a.Type, "Option<"), ">"), value)
	}
	if err != nil {
		return ": " + err.Error()
	}
	return ""
}

func checkType(kind, value string) error {
	switch kind {
	case "u8":
		return integer(value, 1<<8-1, false)
	case "u32":
		return integer(value, 1<<32-1, false)
	case "u64", "usize":
		return integer(value, 1<<64-1, false)
	case "std::num::NonZeroU32":
		return integer(value, 1<<32-1, true)
	case "std::num::NonZeroU64":
		return integer(value, 1<<64-1, true)
	case "std::net::Ipv4Addr":
		if addr, err := netip.ParseAddr(value); err != nil || !addr.Is4() {
			return errors.New("invalid IPv4 address syntax")
		}
	}
	return nil
}

func integer(value string, most uint64, positive bool) error {
	n, err := strconv.ParseUint(value, 10, 64)
	switch {
	case value == "":
		return errors.New("cannot parse integer from empty string")
	case errors.Is(err, strconv.ErrRange) || err == nil && n > most:
		if most < 1<<64-1 && !positive {
			return fmt.Errorf("%s is not in 0..=%d", value, most)
		}
		return errors.New("number too large to fit in target type")
	case err != nil:
		return errors.New("invalid digit found in string")
	case positive && n == 0:
		return errors.New("number would be zero for non-zero type")
	}
	return nil
}

// Port reads HOST:GUEST or PORT, and returns the host's port.
func Port(spec string) (host uint16, err error) {
	first, second, two := strings.Cut(spec, ":")
	words := []string{"host port", "guest port"}
	parts := []string{first, second}
	if !two {
		words, parts = []string{"port"}, parts[:1]
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("invalid %s: %s", words[i], part)
		}
		if n == 0 {
			return 0, fmt.Errorf("%s 0 is not valid for VM port forwarding", words[i])
		}
		if i == 0 {
			host = uint16(n)
		}
	}
	return host, nil
}

var units = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "sec": time.Second,
	"secs": time.Second, "second": time.Second, "seconds": time.Second, "m": time.Minute, "min": time.Minute,
	"mins": time.Minute, "minute": time.Minute, "minutes": time.Minute, "h": time.Hour, "hr": time.Hour,
	"hrs": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
}

// Duration reads humantime's notation, "1h 30m", without fractions; a zero duration is refused.
func Duration(text string) (time.Duration, error) {
	digits := func(c rune) bool { return c < '0' || c > '9' }
	letters := func(c rune) bool { return c < 'a' || c > 'z' }
	upTo := func(s string, stop func(rune) bool) (string, string) {
		if i := strings.IndexFunc(s, stop); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	if text == "0" || strings.TrimSpace(text) == "" {
		return 0, errors.New("value was empty")
	}
	var sum time.Duration
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimLeft(rest, " ") {
		number, tail := upTo(rest, digits)
		unit, tail := upTo(strings.TrimLeft(tail, " "), letters)
		n, err := strconv.ParseInt(number, 10, 32)
		switch {
		case number == "":
			return 0, errors.New("expected number at 0")
		case err != nil:
			return 0, errors.New("number is too large")
		case unit == "":
			return 0, fmt.Errorf("time unit needed, for example %ssec or %sms", number, number)
		case units[unit] == 0:
			return 0, fmt.Errorf("unknown time unit \"%s\"", unit)
		}
		sum, rest = sum+time.Duration(n)*units[unit], tail
	}
	if sum <= 0 {
		return 0, errors.New("timeout must be greater than 0 (e.g., 5sec, 30s)")
	}
	return sum, nil
}

// Size reads a number of bytes with an optional unit.
func Size(text string) (uint64, error) {
	t := strings.TrimSpace(text)
	if t == "" {
		return 0, errors.New("size must not be empty")
	}
	end := strings.IndexFunc(t, func(c rune) bool { return (c < '0' || c > '9') && c != '.' })
	if end < 0 {
		end = len(t)
	}
	value, err := strconv.ParseFloat(t[:end], 64)
	if err != nil {
		return 0, fmt.Errorf("'%s' is not a valid size (expected a number, optional K/M/G/T)", text)
	}
	unit := strings.ToLower(strings.TrimSpace(t[end:]))
	shift := strings.Index("kmgt", strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i"))
	if unit == "" || unit == "b" {
		shift = -1
	} else if shift < 0 || strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i") == "" {
		return 0, fmt.Errorf("invalid size unit '%s' in '%s' (use K, M, G, or T)", unit, text)
	}
	bytes := uint64(value * float64(uint64(1)<<(10*(shift+1))))
	if bytes == 0 {
		return 0, fmt.Errorf("size '%s' must be greater than zero", text)
	}
	return bytes, nil
}
