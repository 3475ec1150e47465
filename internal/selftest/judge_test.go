package selftest_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/selftest"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// sealed is what a good bottle reports.
func sealed() []wire.ProbeResult {
	var all []wire.ProbeResult
	for _, n := range selftest.Names() {
		all = append(all, wire.ProbeResult{Name: n, OK: true, Attack: "refused", Control: "works", Micros: 10})
	}
	return all
}

func TestNamesAreManyAndDistinct(t *testing.T) {
	t.Parallel()
	names := selftest.Names()
	if len(names) < 20 {
		t.Errorf("%d probes are too few", len(names))
	}
	if got := slices.Compact(slices.Sorted(slices.Values(names))); len(got) != len(names) {
		t.Error("a name stands twice")
	}
	names[0] = "changed"
	if selftest.Names()[0] == "changed" {
		t.Error("the list is not the caller's own")
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func([]wire.ProbeResult) []wire.ProbeResult
		says   []string // empty: sealed
	}{
		{"sealed", func(r []wire.ProbeResult) []wire.ProbeResult { return r }, nil},
		{"nothing reported", func([]wire.ProbeResult) []wire.ProbeResult { return nil }, []string{"fewer probes", "direct-ip4", "user-namespace"}},
		{"one missing", func(r []wire.ProbeResult) []wire.ProbeResult { return r[1:] }, []string{"missing direct-ip4"}},
		{"one more", func(r []wire.ProbeResult) []wire.ProbeResult {
			return append(r, wire.ProbeResult{Name: "extra", OK: true})
		}, []string{"nobody asked for: extra"}},
		{"one renamed", func(r []wire.ProbeResult) []wire.ProbeResult { r[3].Name = "privat-net"; return r },
			[]string{"missing private-net", "unknown privat-net"}},
		{"one doubled", func(r []wire.ProbeResult) []wire.ProbeResult { return append(r, r[0]) }, []string{"doubled or out of order"}},
		{"two swapped", func(r []wire.ProbeResult) []wire.ProbeResult { r[0], r[1] = r[1], r[0]; return r }, []string{"out of order"}},
		{"a leak", func(r []wire.ProbeResult) []wire.ProbeResult {
			r[4].OK, r[4].Leak, r[4].Attack = false, true, "somebody answered"
			return r
		}, []string{"metadata-ip4 leaks: somebody answered"}},
		{"a leak that calls itself good", func(r []wire.ProbeResult) []wire.ProbeResult { r[4].Leak = true; return r }, []string{"metadata-ip4 leaks"}},
		{"unproven", func(r []wire.ProbeResult) []wire.ProbeResult {
			r[0].OK, r[0].Control = false, "no socket"
			return r
		}, []string{"direct-ip4 could not be proven", "control: no socket"}},
		{"hostile words", func(r []wire.ProbeResult) []wire.ProbeResult {
			r[0].OK, r[0].Attack = false, "\x1b[2Jall\ngood"+strings.Repeat("x", 1<<16)
			return r
		}, []string{"could not be proven"}},
		{"a flood", func(r []wire.ProbeResult) []wire.ProbeResult {
			for range 12 {
				r = append(r, r...)
			}
			return r
		}, []string{"out of order"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bait := prepare(t)
			bait.Request()
			results := c.change(sealed())
			summary, err := selftest.Judge(results, bait)
			if len(c.says) == 0 {
				if err != nil || summary.Leaks+summary.Unproven != 0 || summary.Took <= 0 {
					t.Errorf("%+v, %v", summary, err)
				}
				return
			}
			if _, ok := errors.AsType[*selftest.Refusal](err); !ok {
				t.Fatalf("not refused: %v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is not said in: %.300s", s, err)
				}
			}
			if strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 1<<14 {
				t.Errorf("not inert and bounded: %d bytes", len(err.Error()))
			}
			if summary.Leaks+summary.Unproven == 0 {
				t.Errorf("the summary hides it: %+v", summary)
			}
		})
	}
}

func TestSummaryLine(t *testing.T) {
	t.Parallel()
	s := selftest.Summary{Probes: 59, Took: 6234 * time.Microsecond}
	if got := s.String(); got != "59 probes, 0 leaks, 6.2 ms" {
		t.Error(got)
	}
	s.Leaks, s.Unproven = 1, 2
	if got := s.String(); got != "59 probes, 1 leak, 2 unproven, 6.2 ms" {
		t.Error(got)
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	bait := prepare(t)
	bait.Request()
	results := sealed()
	results[0].OK, results[0].Leak, results[0].Attack = false, true, "\x1b]0;x\a"
	summary, err := selftest.Judge(results, bait)
	r := selftest.NewRecord(time.Now(), results, bait, summary, err)
	b, jerr := json.Marshal(r)
	if jerr != nil {
		t.Fatal(jerr)
	}
	var back selftest.Record
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.OK || back.V != selftest.Version || len(back.Results) != len(results) || !strings.Contains(back.Error, "direct-ip4") {
		t.Errorf("%+v", back)
	}
	if strings.ContainsAny(back.Results[0].Attack, "\x1b\a") {
		t.Errorf("not inert: %q", back.Results[0].Attack)
	}
	if strings.Contains(string(b), bait.Request().HostNonce) {
		t.Error("the record tells the nonce")
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte(`[{"name":"direct-ip4","ok":true}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var results []wire.ProbeResult
		if json.Unmarshal(b, &results) != nil {
			return
		}
		if _, err := selftest.Judge(results, &selftest.Bait{}); err == nil && len(results) != len(selftest.Names()) {
			t.Error("passed")
		}
	})
}
