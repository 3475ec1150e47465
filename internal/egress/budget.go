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

// spend counts n bytes that are about to leave; an unknown length, which is negative, counts when it
// has been read. A route that has no budget left is denied.
func (x *exchange) spend(n int64) (policy.Verdict, bool) {
	s, budget := x.e.spent[x.route], x.route.Scan.Budget
	total := s.bytes.Add(max(0, n))
	switch {
	case budget > 0 && total > budget:
		s.bytes.Add(-max(0, n)) // it does not leave
		x.findings = append(x.findings, audit.Finding{Kind: "volume", Name: x.route.ID, Where: "what leaves on this rule", Action: "blocked"})
		return policy.Verdict{
			Rule: x.route.ID,
			Why:  fmt.Sprintf("rule %s lets %d bytes leave in a bottle's life, and this would go past that", x.route.ID, budget),
			Ask:  fmt.Sprintf("# if more is to leave, on the rule %s:\n      dlp: {budget: %dMiB}\n", x.route.ID, 2*max(1, budget>>20)),
		}, true
	case budget == 0 && !x.route.Scan.Model && total > muchSent && s.warned.CompareAndSwap(false, true):
		x.findings = append(x.findings, audit.Finding{Kind: "volume", Name: x.route.ID, Where: "what leaves on this rule", Action: "warned"})
	}
	return policy.Verdict{}, false
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
