package selftest

import (
	"slices"
	"testing"
)

func TestGateways(t *testing.T) {
	t.Parallel()
	const table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n" +
		"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n" +
		"tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\n" +
		"bad0\t00000000\tXYZ\t0003\n"
	if got := gateways(table); !slices.Equal(got, []string{"192.0.2.1:80"}) {
		t.Errorf("got %v", got)
	}
	if got := gateways(""); got != nil {
		t.Errorf("got %v", got)
	}
}

func FuzzGateways(f *testing.F) {
	f.Add("eth0 00000000 010200C0 0003")
	f.Fuzz(func(t *testing.T, table string) {
		if len(gateways(table)) > 4 {
			t.Error("unbounded")
		}
	})
}
