package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/terminal"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// attachTo lends the terminal to a bottle until the agent ends, which is our end too, or until the
// operator leaves.
func (a *app) attachTo(ctx context.Context, c *client.Client, dir *state.Dir) error {
	keys, err := client.ParseKeys(client.DefaultKeys)
	if err != nil {
		return err
	}
	st := a.sys.styleFor(a.sys.Stdout)
	r, err := terminal.Attach(ctx, c, terminal.Options{
		In: a.sys.Stdin, Out: a.sys.Stdout, Err: a.sys.Stderr, Detach: keys,
		Hint: st.dim(fmt.Sprintf("attached to %s; %s leaves it running", dir.ID(), keys.String())),
	})
	switch {
	case err != nil:
		return a.attachError(ctx, dir, err)
	case r.Exit == nil:
		putf(a.sys.Stderr, "left %s running; back to it: claude-bottle attach %s\n", dir.ID(), dir.ID())
		return nil
	}
	return a.sawEnd(ctx, dir, *r.Exit, false)
}

// sawEnd waits, after the agent's exit came through, until its bottle is gone, says what is kept of
// it, and returns our own end: the agent's, with the reason where it did not end of its own accord.
func (a *app) sawEnd(ctx context.Context, dir *state.Dir, exit wire.Exit, quiet bool) error {
	if err := a.waitGone(ctx, dir); err != nil {
		return errors.Join(agentEnded(exit), err)
	}
	if !quiet {
		a.tellKept(dir)
	}
	if m, err := dir.Metadata(); err == nil && m.Reason != "" {
		// Whether an exit or the loss of its session is seen first is chance; the words are the same.
		return errors.Join(agentEnded(exit), bottleEnded(dir))
	}
	return agentEnded(exit)
}

// bottleEnded is the error for a bottle that was ended.
func bottleEnded(dir *state.Dir) error {
	return withHint(fmt.Errorf("bottle %s ended: %s", dir.ID(), epitaph(dir)), "claude-bottle logs %s shows what was recorded", dir.ID())
}

// epitaph is how a bottle whose session broke off ended, as far as its warden came to write it
// down.
func epitaph(dir *state.Dir) string {
	m, err := dir.Metadata()
	switch {
	case err != nil || !m.State.Ended():
		return state.WardenDied
	case m.Reason != "":
		return m.Reason
	}
	return endedHow(m)
}

// attachError explains an attachment that broke.
func (a *app) attachError(ctx context.Context, dir *state.Dir, err error) error {
	switch {
	case errors.Is(err, client.ErrGone):
		if err := a.waitGone(ctx, dir); err != nil {
			return err
		}
		return bottleEnded(dir)
	case errors.Is(err, client.ErrNotReady):
		return withHint(fmt.Errorf("bottle %s is still being prepared", dir.ID()), "claude-bottle logs %s --launch --follow shows how far it is", dir.ID())
	}
	return fmt.Errorf("bottle %s: %w", dir.ID(), err)
}
