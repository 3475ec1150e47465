package plan

import (
	"errors"
	"fmt"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// Rules is what a bottle may reach, in the order it is asked in, as a Plan of it would have it.
type Rules struct {
	Routes []policy.Route
	// Moot are rules of the manifest that the provider's own overrule.
	Moot []policy.Finding
}

// RulesOf resolves the rules of e and nothing else, for questions about policy. What the machine lacks
// is no error.
func RulesOf(e manifest.Effective, h Host) (Rules, error) {
	b := &builder{host: h, effective: e}
	b.provider()
	b.routes()
	if len(b.errs) > 0 {
		return Rules{}, errors.Join(b.errs...)
	}
	if _, err := policy.Compile(b.plan.Routes); err != nil {
		return Rules{}, fmt.Errorf("egress rules: %w", err)
	}
	return Rules{b.plan.Routes, b.moot}, nil
}
