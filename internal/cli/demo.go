package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/demo"
	"github.com/claude-bottle/claude-bottle/internal/plan"
)

func (a *app) demoCommand() *cobra.Command {
	var on string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See a real agent in a real bottle, offline",
		Long: `Start a real agent in a real bottle against a model that is a stand-in inside this
program: no account, no token, nothing leaves the host. It shows what the agent
tries, what it gets, and what the operator sees of it, and cleans up.

Claude Code is installed from npm when it isn't there; where npm can't be reached
a scripted shell plays the agent.`,
		Example: "  claude-bottle demo\n  claude-bottle demo --backend docker",
		Args:    noArgs,
		GroupID: groupBottles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), on)
		},
	}
	cmd.Flags().StringVar(&on, "backend", "", "where the bottle runs (default $CLAUDE_BOTTLE_BACKEND, else what this host has)")
	// Cobra refuses only names that don't exist or a second registration: neither can be.
	_ = cmd.RegisterFlagCompletionFunc("backend", a.completeBackends)
	return cmd
}

func (a *app) demo(ctx context.Context, on string) error {
	name, err := a.backendName(on)
	if err != nil {
		return err
	}
	options, err := a.launchOptions()
	if err != nil {
		return err
	}
	ctx, release := interruptible(ctx)
	defer release()
	return demo.Run(ctx, demo.Options{
		Out:      a.sys.Stdout,
		Paint:    a.sys.styleFor(a.sys.Stdout).role,
		Launch:   options,
		Backends: a.backendFacts(),
		Backend:  name,
		Image:    a.sys.getenv(plan.ImageVariable),
	})
}

// role paints text by the part it plays in the demo.
func (st style) role(role, text string) string {
	switch role {
	case "title":
		return st.bold(text)
	case "dim":
		return st.dim(text)
	case "good":
		return st.green(text)
	case "bad":
		return st.red(text)
	case "code":
		return st.cyan(text)
	}
	return text
}
