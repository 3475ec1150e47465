package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// The self-test's own tries are in nobody's way, unless they are what one has to look at.
func TestAuditViewHoldsTheSelfTestBack(t *testing.T) {
	t.Parallel()
	try := audit.Event{Kind: audit.KindDNS, Verdict: "deny", Host: "tried.test", Why: "no rule"}
	result := func(verdict string) audit.Event {
		return audit.Event{Kind: audit.KindSelfTest, Verdict: verdict, Text: "59 probes"}
	}
	agents := audit.Event{Kind: audit.KindRequest, Verdict: "deny", Host: "agents.test", Why: "no rule"}
	for name, c := range map[string]struct {
		events []audit.Event
		shows  string // the hosts and results, in order
	}{
		"a good one":     {[]audit.Event{try, try, result("allow"), agents}, "59 probes (--json shows its 2 requests) agents.test"},
		"a leak":         {[]audit.Event{try, result("deny")}, "tried.test 59 probes"},
		"it never ended": {[]audit.Event{try}, "tried.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			v := auditView{w: &out}
			for _, e := range c.events {
				if err := v.show(e); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.release(); err != nil {
				t.Fatal(err)
			}
			at := 0
			for word := range strings.FieldsSeq(c.shows) {
				i := strings.Index(out.String()[at:], word)
				if i < 0 {
					t.Fatalf("want %s in order:\n%s", c.shows, out.String())
				}
				at += i + len(word)
			}
			if n := strings.Count(out.String(), "tried.test"); n != strings.Count(c.shows, "tried.test") {
				t.Errorf("%d tries are shown:\n%s", n, out.String())
			}
		})
	}
}
