package egress

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// muchSent is how many bytes may leave on a route without a budget before that is worth a warning.
const muchSent = 64 << 20

// spent counts what has left on one route in the bottle's life.
type spent struct {
	bytes  atomic.Int64
	warned atomic.Bool
}

// spend counts n bytes that are about to leave on a route. One that has no budget left is denied. What is
// found on the way is for the audit log; its Kind is empty where nothing is.
func (e *Engine) spend(r *policy.Route, n int64) (v policy.Verdict, found audit.Finding, over bool) {
	s, budget := e.spent[r], r.Scan.Budget
	found = audit.Finding{Name: r.ID, Where: "what leaves on this rule"}
	total := s.bytes.Add(n)
	switch {
	case budget > 0 && total > budget:
		s.bytes.Add(-n) // it does not leave
		found.Kind, found.Action = "volume", "blocked"
		return policy.Verdict{
			Rule: r.ID,
			Why:  fmt.Sprintf("rule %s lets %d bytes leave in a bottle's life, and this would go past that", r.ID, budget),
			Ask:  fmt.Sprintf("# if more is to leave, on the rule %s:\n      dlp: {budget: %dMiB}\n", r.ID, 2*max(1, budget>>20)),
		}, found, true
	case budget == 0 && !r.Scan.Model && total > muchSent && s.warned.CompareAndSwap(false, true):
		found.Kind, found.Action = "volume", "warned"
	}
	return policy.Verdict{}, found, false
}

// spend counts n bytes of the exchange; an unknown length, which is negative, counts when it has been
// read.
func (x *exchange) spend(n int64) (policy.Verdict, bool) {
	v, found, over := x.e.spend(x.route, max(0, n))
	if found.Kind != "" {
		x.findings = append(x.findings, found)
	}
	return v, over
}

// spending counts a body of unknown length as it is read.
type spending struct {
	io.ReadCloser
	x *exchange
}

func (b *spending) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if v, over := b.x.spend(int64(n)); over {
		return 0, &deniedError{v}
	}
	return n, err
}
