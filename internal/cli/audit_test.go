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

// What was found is told where nothing else tells it, and the canary always.
func TestFindingsAreShown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verdict, why string
		finding      audit.Finding
		want         string
	}{
		{"allow", "", audit.Finding{Kind: "known", Name: "DB_URL", Where: "the body", Via: "base64", Action: "redacted"}, "redacted known DB_URL in the body, as base64"},
		{"allow", "", audit.Finding{Kind: "invisible", Where: "the answer", Excerpt: "3 invisible characters", Action: "redacted"}, "redacted invisible (3 invisible characters) in the answer"},
		{"deny", "no rule", audit.Finding{Kind: "canary", Name: "BAIT", Where: "the query", Action: "blocked"}, "blocked canary BAIT in the query"},
	} {
		e := audit.Event{Kind: audit.KindRequest, Verdict: c.verdict, Why: c.why, Host: "h.test", Findings: []audit.Finding{c.finding}}
		if got := auditLine(style{}, e); !strings.Contains(got, c.want) {
			t.Errorf("%q lacks %q", got, c.want)
		}
	}
	e := audit.Event{Verdict: "deny", Why: "the body carries the secret DB_URL", Findings: []audit.Finding{{Kind: "known", Name: "DB_URL", Where: "the body", Action: "blocked"}}}
	if got := auditLine(style{}, e); strings.Count(got, "DB_URL") != 1 {
		t.Errorf("told twice: %q", got)
	}
}
