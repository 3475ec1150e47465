package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/session"
	"github.com/claude-bottle/claude-bottle/internal/session/cast"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

type logsOptions struct {
	follow  bool
	audit   bool
	launch  bool
	session bool
	asJSON  bool
}

func (a *app) logsCommand() *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs <bottle>",
		Short: "Show what a bottle said and did",
		Long: `Show what the agent of a running or ended bottle said, as plain text: of a terminal
what scrolled by and then the last screen.

With --audit it shows what was decided instead: every request, name and
connection with its verdict, the rule and the reason. With --launch it shows how
the launch went.`,
		Example: `  claude-bottle logs researcher-m3hxd
  claude-bottle logs researcher-m3hxd --audit --follow
  claude-bottle logs researcher-m3hxd --audit --json | jq 'select(.verdict == "deny")'`,
		GroupID:           groupBottles,
		Args:              argsBetween(1, 1, "one bottle's ID, the beginning of it, or its label"),
		ValidArgsFunction: a.completeIDs(1, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.audit && o.launch || o.session && (o.audit || o.launch) {
				return usageError{"--session, --audit and --launch are different logs: name one", seeHelp(cmd)}
			}
			if o.asJSON && !o.audit {
				return usageError{"--json goes with --audit: the rest is text", seeHelp(cmd)}
			}
			return a.logs(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "go on until the bottle ends")
	f.BoolVar(&o.session, "session", false, "what the agent said (the default)")
	f.BoolVar(&o.audit, "audit", false, "what was allowed and denied, and why")
	f.BoolVar(&o.launch, "launch", false, "how the launch went")
	f.BoolVar(&o.asJSON, "json", false, "with --audit: the lines as they were recorded")
	return cmd
}

func (a *app) logs(ctx context.Context, name string, o logsOptions) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	e, err := pick(ctx, store, name)
	if err != nil {
		return err
	}
	switch {
	case o.audit:
		return a.auditLog(ctx, e.Dir, o)
	case o.launch:
		return a.tail(ctx, e.Dir, state.LaunchLog, o.follow, func(line []byte) error {
			_, err := fmt.Fprintln(a.sys.Stdout, safe(string(line)))
			return err
		})
	case o.follow:
		return a.followSession(ctx, e)
	}
	err = session.WriteText(a.sys.Stdout, e.Dir.Path(state.CastFile))
	if errors.Is(err, os.ErrNotExist) {
		return withHint(fmt.Errorf("bottle %s has no session recorded: its agent never started", e.ID), "claude-bottle logs %s --launch shows how far it came", e.ID)
	}
	return err
}

// followEvery is how often a followed file is looked at again, which a person takes for at once.
const followEvery = 150 * time.Millisecond

// follow calls drain until the bottle has ended, and once more for its last words. Without follow
// it calls it once.
func follow(ctx context.Context, dir *state.Dir, on bool, drain func() error) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		live := false
		if on {
			var err error
			if live, err = alive(dir); err != nil {
				return err
			}
		}
		if err := drain(); err != nil || !live {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// followSession prints what an agent without a terminal says, as it says it.
func (a *app) followSession(ctx context.Context, e state.Entry) error {
	if !e.Headless {
		return usageError{fmt.Sprintf("the agent of %s has a terminal, which can't be followed line by line", e.ID),
			"claude-bottle attach " + e.ID.String()}
	}
	var r *cast.Reader
	defer func() {
		if r != nil {
			_ = r.Close() // read-only
		}
	}()
	var out lineWriter
	err := follow(ctx, e.Dir, true, func() error {
		if r == nil {
			opened, err := cast.Open(e.Dir.Path(state.CastFile))
			if err != nil {
				return nil //nolint:nilerr // not there yet, or only half its header: the next look will tell
			}
			r = opened
		}
		return drainCast(r, &out, a.sys.Stdout)
	})
	return errors.Join(err, out.flush(a.sys.Stdout))
}
