package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

type stopOptions struct {
	all   bool
	grace time.Duration
}

func (a *app) stopCommand() *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:   "stop <bottle>... | --all",
		Short: "Stop running bottles",
		Long: `Stop running bottles and wait until nothing of them runs any more. The agent has
a grace period to end by itself. The bottle's folder is kept: see cleanup.`,
		Example: `  claude-bottle stop researcher-m3hxd
  claude-bottle stop res             the only one whose ID begins so
  claude-bottle stop --all --grace 0s`,
		GroupID:           groupBottles,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeIDs(0, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.all && len(args) > 0:
				return usageError{"--all stops every bottle: name none", seeHelp(cmd)}
			case !o.all && len(args) == 0:
				return usageError{"stop needs a bottle, or --all", "claude-bottle list shows what is running"}
			case o.grace < 0:
				return usageError{"--grace can't be negative", seeHelp(cmd)}
			}
			return a.stop(cmd.Context(), args, o)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "stop every running bottle")
	cmd.Flags().DurationVar(&o.grace, "grace", stopGrace, "how long the agent has to end by itself")
	return cmd
}

func (a *app) stop(ctx context.Context, names []string, o stopOptions) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	var targets []state.Entry
	var errs []error
	if o.all {
		entries, err := store.List(ctx)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Alive {
				targets = append(targets, e)
			}
		}
		if len(targets) == 0 {
			putln(a.sys.Stderr, "no bottle is running")
			return nil
		}
	}
	for _, name := range names {
		e, err := running(ctx, store, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		targets = append(targets, e)
	}
	return errors.Join(append(errs, a.stopAll(ctx, targets, o.grace))...)
}

// stopAll stops bottles side by side: their grace periods need not add up.
func (a *app) stopAll(ctx context.Context, targets []state.Entry, grace time.Duration) error {
	results := make([]chan error, len(targets))
	for i, e := range targets {
		results[i] = make(chan error, 1)
		go func() {
			results[i] <- stopBottle(ctx, client.Dial(e.Dir.Path(state.SocketFile)), e.Dir, "stopped by the operator", grace)
		}()
	}
	var errs []error
	for i, e := range targets {
		if err := <-results[i]; err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", e.ID, err))
			continue
		}
		putln(a.sys.Stdout, e.ID)
	}
	return errors.Join(errs...)
}

// teardownTime is how long, after the grace period, a warden may take to make everything
// disappear.
const teardownTime = 20 * time.Second

// stopBottle asks a warden to end its bottle and waits until the warden itself is gone.
func stopBottle(ctx context.Context, c *client.Client, dir *state.Dir, reason string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+teardownTime)
	defer cancel()
	asked := c.Stop(ctx, reason, grace)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		live, err := alive(dir)
		if err == nil && !live {
			return nil // also when it ended before it could answer
		}
		if err := errors.Join(err, asked); err != nil {
			return wedged(dir, err)
		}
		select {
		case <-ctx.Done():
			return wedged(dir, errors.New("it did not end in time"))
		case <-tick.C:
		}
	}
}

// wedged tells the last resort: a bottle can't outlive its warden.
func wedged(dir *state.Dir, err error) error {
	m, readErr := dir.Metadata()
	if readErr != nil || m.WardenPID == 0 {
		return err
	}
	return withHint(err, "kill -9 %d ends it for certain: a bottle dies with its warden", m.WardenPID)
}
