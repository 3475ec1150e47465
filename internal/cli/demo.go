package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/demo"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "See a real agent in a real bottle, offline",
		Long: `Start a real agent in a real bottle against a model that is a stand-in inside this
program: no account, no token, nothing leaves the host. It shows what the agent
tries, what it gets, and what the operator sees of it, and cleans up.

Claude Code is installed from npm when it isn't there; where npm can't be reached
a scripted shell plays the agent.`,
		Example: "  claude-bottle demo",
		Args:    noArgs,
		GroupID: groupBottles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context())
		},
	}
}

func (a *app) demo(ctx context.Context) error {
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
