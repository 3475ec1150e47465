//go:build linux

package probe_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/selftest"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

func TestSealedBottlePasses(t *testing.T) {
	t.Parallel()
	r, bait := start(t)
	summary, err := selftest.Judge(r.Results, bait)
	if err != nil {
		t.Fatal(err)
	}
	if summary.Leaks != 0 || summary.Probes != len(selftest.Names()) {
		t.Errorf("summary is %+v", summary)
	}
	t.Logf("%s; %v inside", summary, r.Took)
	slow := slices.SortedFunc(slices.Values(r.Results), func(a, b wire.ProbeResult) int { return int(b.Micros - a.Micros) })
	for _, p := range slow[:3] {
		t.Logf("%6d us %s: %s", p.Micros, p.Name, p.Attack)
	}
}

// Every hole is caught, by exactly the probes that look for it.
func TestLeaksAreCaught(t *testing.T) {
	t.Parallel()
	direct := []string{"direct-ip4", "direct-ip6", "direct-ports", "private-net", "metadata-ip4", "metadata-ip6", "host-network", "dns-tcp", "dns-over-tls"}
	for _, c := range []struct {
		leak string
		want []string
		// may leak too, where the kernel has no second layer for it.
		may []string
	}{
		{"open-way", direct, nil},
		{"listed", []string{"proxy-http", "proxy-connect", "proxy-socks5", "dns-udp", "dns-resolver"}, nil},
		{"subtree", []string{"dns-subtree"}, nil},
		{"proxy-dials-host", []string{"proxy-to-host"}, nil},
		{"udp", []string{"quic", "udp"}, nil},
		{"host-net", []string{"host-loopback", "interfaces", "abstract-sockets"}, []string{"host-unix"}},
		{"engine-socket", []string{"engine-sockets"}, nil},
		{"host-socket", []string{"host-unix"}, nil},
		{"host-file", []string{"host-files"}, nil},
		{"host-proc", []string{"host-processes"}, nil},
		{"root-writable", []string{"root-readonly"}, nil},
		{"proc-writable", []string{"proc-sys"}, nil},
		{"proc-unmasked", []string{"proc-masked"}, nil},
		{"sys-writable", []string{"sys-readonly"}, nil},
		{"device", []string{"devices"}, nil},
	} {
		t.Run(c.leak, func(t *testing.T) {
			t.Parallel()
			r, bait := start(t, c.leak)
			expect(t, r, bait, c.want, c.may)
		})
	}
}

// expect compares the leaking probes with want, and wants the launch refused.
func expect(t *testing.T, r report, bait *selftest.Bait, want, may []string) {
	t.Helper()
	var got []string
	for _, p := range r.Results {
		if p.Leak && !slices.Contains(may, p.Name) {
			got = append(got, p.Name)
		}
		if p.Leak && p.OK {
			t.Errorf("%s is both a leak and good", p.Name)
		}
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("leaks found: %v\nwant: %v", got, want)
		for _, p := range r.Results {
			if !p.OK {
				t.Logf("%s: %s; control: %s", p.Name, p.Attack, p.Control)
			}
		}
	}
	summary, err := selftest.Judge(r.Results, bait)
	refusal, ok := errors.AsType[*selftest.Refusal](err)
	if !ok {
		t.Fatalf("not refused: %v", err)
	}
	if summary.Leaks < len(want) {
		t.Errorf("summary counts %d leaks, want %d", summary.Leaks, len(want))
	}
	for _, name := range want {
		if !strings.Contains(refusal.Error(), name+" leaks") {
			t.Errorf("the refusal does not name %s: %v", name, refusal)
		}
	}
}

// A thread that nobody confined fails every probe of the kernel at once.
func TestUnconfinedThreadIsCaught(t *testing.T) {
	t.Parallel()
	r, bait := start(t, "unconfined")
	want := []string{
		"raw-socket", "packet-socket", "netlink-socket", "namespaces", "mount", "keyring", "io-uring", "userfaultfd",
		"perf", "tty-inject", "kernel-load", "user-namespace", "capabilities", "no-new-privs", "seccomp",
	}
	if os.Getuid() == 0 {
		want = append(want, "identity", "set-uid")
	}
	found := map[string]bool{}
	for _, p := range r.Results {
		found[p.Name] = p.Leak
	}
	for _, name := range want {
		if !found[name] {
			t.Errorf("%s did not leak", name)
		}
	}
	for _, p := range r.Results {
		if !p.OK && !slices.Contains(want, p.Name) {
			t.Logf("also: %s: %s; control: %s", p.Name, p.Attack, p.Control)
		}
	}
	if _, err := selftest.Judge(r.Results, bait); err == nil {
		t.Error("not refused")
	}
}

// With the engine gone nothing leaks, and nothing is proven: that is a refusal too.
func TestDeadEngineIsNoPass(t *testing.T) {
	t.Parallel()
	r, bait := start(t, "no-engine")
	for _, p := range r.Results {
		if p.Leak {
			t.Errorf("%s leaks: %s", p.Name, p.Attack)
		}
		if p.Name == "direct-ip4" && p.OK {
			t.Errorf("direct-ip4 is good without an engine: %s; %s", p.Attack, p.Control)
		}
	}
	summary, err := selftest.Judge(r.Results, bait)
	if err == nil || summary.Unproven < 15 {
		t.Errorf("%v, %v", summary, err)
	}
}
