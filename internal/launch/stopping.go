package launch

import (
	"context"
	"errors"
	"sync"
	"time"
)

// defaultGrace is how long an agent has to end by itself when nobody said otherwise.
const defaultGrace = 3 * time.Second

// stopping is the one stop of a bottle: the first to ask gives the reason, a later one can only
// shorten the grace.
type stopping struct {
	asked <-chan struct{}
	ctx   context.Context //nolint:containedctx // it is the stop itself, offered as a context to whoever selects on one
	state *stopState
}

type stopState struct {
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	reason string
	grace  time.Duration
}

func newStopping() stopping {
	ctx, cancel := context.WithCancelCause(context.Background())
	return stopping{asked: ctx.Done(), ctx: ctx, state: &stopState{cancel: cancel}}
}

// ask begins the stop. It does not wait.
func (s stopping) ask(reason string, grace time.Duration) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if reason == "" {
		reason = "stopped by the operator"
	}
	if s.state.reason == "" {
		s.state.reason, s.state.grace = reason, grace
	}
	s.state.grace = min(s.state.grace, grace)
	s.state.cancel(errors.New(reason))
}

// reason is empty as long as nobody asked.
func (s stopping) reason() string {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.reason
}

func (s stopping) grace() time.Duration {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.grace
}

func (s stopping) cause() error { return context.Cause(s.ctx) }
