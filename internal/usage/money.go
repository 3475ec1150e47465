package usage

import (
	"fmt"
	"math"
	"strconv"
)

// Money is an amount in millionths of a micro-dollar, which is what one token costs at a price of a
// micro-dollar for a million. Sums of prices times tokens are exact in it; nine million dollars are
// the most it holds, and what is added to those is lost.
type Money int64

// perMicro is a micro-dollar.
const perMicro = 1_000_000

// Micro returns m in micro-dollars, rounded to the nearest.
func (m Money) Micro() int64 { return int64(m/perMicro + (m%perMicro+perMicro/2)/perMicro) }

// String is m in dollars: "$12.34", and where that would be less than ten cents "$0.0123".
func (m Money) String() string {
	if m == 0 {
		return "$0.00"
	}
	micro := m.Micro()
	cents, rest := micro/10_000, micro%10_000
	if cents >= 10 {
		cents += (rest + 5_000) / 10_000
		return fmt.Sprintf("$%d.%02d", cents/100, cents%100)
	}
	small := (micro + 50) / 100
	if small == 0 {
		return "<$0.0001"
	}
	return fmt.Sprintf("$0.%04d", small)
}

// MarshalJSON writes m as a whole number of micro-dollars.
func (m Money) MarshalJSON() ([]byte, error) { return strconv.AppendInt(nil, m.Micro(), 10), nil }

// UnmarshalJSON reads what MarshalJSON wrote; what was rounded stays so.
func (m *Money) UnmarshalJSON(b []byte) error {
	micro, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || micro < 0 || micro > math.MaxInt64/perMicro {
		return fmt.Errorf("%q is no amount of micro-dollars", b)
	}
	*m = Money(micro * perMicro)
	return nil
}
