package manifest

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// none is the word for a limit that is not to hold.
const none = "none"

// Size is a number of bytes, written with a unit ("512MiB", "4GiB"); "none" is 0: no limit.
type Size int64

var units = [...]struct {
	name string
	size float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// minSize is the least a size limit may be: below it nothing starts, and the unit was mistyped.
const minSize = 1 << 20

// ParseSize reads a Size.
func ParseSize(s string) (Size, error) {
	if s == none {
		return 0, nil
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		digits = strings.TrimRight(digits, " ")
		if digits == "" || strings.Trim(digits, "0123456789.") != "" {
			break
		}
		v, err := strconv.ParseFloat(digits, 64)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s is not a size such as 512MiB or 4GiB", shown(s))
		case v*u.size < minSize:
			return 0, fmt.Errorf("%s is too small: at least 1MiB", s)
		case v*u.size > math.MaxInt64/2:
			return 0, fmt.Errorf("%s is too large", clip(s))
		}
		return Size(v * u.size), nil
	}
	return 0, fmt.Errorf("%s is not a size such as 512MiB or 4GiB (units KiB, MiB, GiB, TiB), nor \"none\"", shown(s))
}

// String writes the size with the largest unit that divides it.
func (s Size) String() string {
	if s == 0 {
		return none
	}
	for i := len(units) - 1; i >= 0; i-- {
		if u := int64(units[i].size); int64(s)%u == 0 {
			return strconv.FormatInt(int64(s)/u, 10) + units[i].name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

func (s *Size) decodeNode(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		d.wrong(n, at, "a size with its unit")
		return
	}
	v, err := ParseSize(n.Value)
	if err != nil {
		d.fail(n, at, err.Error(), "")
		return
	}
	*s = v
}

// Count is a number of processes; "none" is 0: no limit.
type Count int64

func (c *Count) decodeNode(d *decoder, n *yaml.Node, at place) {
	switch {
	case isWord(n, none):
		*c = 0
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int":
		d.wrong(n, at, `a number or "none"`)
	default:
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || v < 16 || v > 1<<22 {
			d.fail(n, at, clip(n.Value)+" is out of range", "between 16 and 4194304")
			return
		}
		*c = Count(v)
	}
}

// Cores is an amount of processor time in cores; "none" is 0: all of the host's.
type Cores float64

func (c *Cores) decodeNode(d *decoder, n *yaml.Node, at place) {
	tag := n.ShortTag()
	switch {
	case isWord(n, none):
		*c = 0
	case n.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float":
		d.wrong(n, at, `a number or "none"`)
	default:
		v, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || !(v >= 0.05 && v <= 4096) { // so written, NaN is refused
			d.fail(n, at, clip(n.Value)+" is out of range", "between 0.05 and 4096 cores")
			return
		}
		*c = Cores(v)
	}
}

func isWord(n *yaml.Node, word string) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == word
}
