package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

func (a *app) attachCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "attach [bottle]",
		Short: "Attach this terminal to a running bottle",
		Long: `Attach this terminal to a running bottle. The detach key, shown as you attach,
leaves it running. Several terminals may be attached at once; all of them type.
Where one bottle is running it need not be named.`,
		Example:           "  claude-bottle attach\n  claude-bottle attach researcher-m3hxd\n  claude-bottle attach res",
		GroupID:           groupBottles,
		Args:              argsBetween(0, 1, "at most one bottle's ID, the beginning of it, or its label"),
		ValidArgsFunction: a.completeIDs(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.attach(cmd.Context(), strings.Join(args, ""))
		},
	}
}

func (a *app) attach(ctx context.Context, name string) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	var e state.Entry
	if name == "" {
		e, err = only(ctx, store)
	} else {
		e, err = running(ctx, store, name)
	}
	if err != nil {
		return err
	}
	if !e.Headless && !isTerminal(a.sys.Stdin) {
		return withHint(errors.New("standard input is no terminal to attach"), "claude-bottle logs %s shows what the agent said", e.ID)
	}
	return a.attachTo(ctx, client.Dial(e.Dir.Path(state.SocketFile)), e.Dir)
}
