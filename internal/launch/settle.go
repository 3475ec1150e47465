package launch

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/selftest"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// note writes a change down, and a change of state into the audit log.
func (k *keeper) note(change func(*state.Metadata) error) error {
	return k.dir.Update(func(m *state.Metadata) error {
		before := m.State
		if err := change(m); err != nil {
			return err
		}
		if m.State != before {
			k.audit.Append(audit.Event{Kind: audit.KindLifecycle, Text: m.State.String() + reasonText(m.Reason)})
		}
		return nil
	})
}

func reasonText(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// hinted is an error that says what to do about it.
type hinted interface {
	error
	Hint() string
}

// launchFailed records why there is no bottle and tells whoever follows the launch. It returns
// nil: the failure is told, and the warden itself did its work.
func (k *keeper) launchFailed(cause error) error {
	end := progress.End{Error: inert.Lines(cause.Error(), 8<<10)}
	if h, ok := errors.AsType[hinted](cause); ok {
		end.Hint = h.Hint()
	}
	_, end.Refused = errors.AsType[*selftest.Refusal](cause)
	err := k.note(func(m *state.Metadata) error {
		now := time.Now()
		m.Ended, m.Reason = &now, end.Error
		return m.To(bottle.Failed)
	})
	k.server.Progress().Add(progress.Event{Time: time.Now(), Step: stepAgent, End: &end})
	return err
}

// settle writes the end down. The folder may go when the agent ended well by itself and the
// operator's work isn't in it.
func (k *keeper) settle(exit *wire.Exit, reason string, cause error) (remove bool, err error) {
	if cause != nil {
		text := inert.Lines(cause.Error(), 8<<10)
		if !strings.HasPrefix(text, reason) {
			text = reason + "; then: " + text // what taking it down came upon
		}
		reason = text
		// Dropped, unless the launch broke off when the agent was running already.
		k.server.Progress().Add(progress.Event{Time: time.Now(), Step: stepAgent, End: &progress.End{Error: reason}})
	}
	err = k.note(func(m *state.Metadata) error {
		now := time.Now()
		m.Ended, m.Reason = &now, reason
		if exit != nil {
			m.Exit = &exit.Code
		}
		if cause != nil {
			return m.To(bottle.Failed)
		}
		if err := m.To(bottle.Stopping); err != nil {
			return err
		}
		return m.To(bottle.Stopped)
	})
	well := cause == nil && reason == "" && exit != nil && exit.Code == 0
	return err == nil && well && !k.holdsWork(), err
}

// holdsWork reports whether the workspace holds anything. When in doubt it does.
func (k *keeper) holdsWork() bool {
	entries, err := os.ReadDir(k.dir.Path(state.WorkDir))
	return err != nil || len(entries) > 0
}

func (k *keeper) setUp(up *bottleUp) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.up = up
}

// fill completes a status for the control API.
func (k *keeper) fill(s *warden.Status) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.Egress = k.tally
	if k.up != nil {
		s.Report = k.up.bottle.Report()
		s.SelfTest, s.SelfTestMillis = k.up.probes, float64(k.up.summary.Took.Microseconds())/1000
	}
}

// record counts an egress event and hands it to the audit log.
func (k *keeper) record(e audit.Event) {
	k.mu.Lock()
	if e.Verdict == policy.Allow.String() {
		k.tally.Allowed++
	} else {
		k.tally.Denied++
	}
	k.tally.BytesOut += e.BytesOut
	k.tally.BytesIn += e.BytesIn
	k.mu.Unlock()
	k.audit.Append(e)
}
