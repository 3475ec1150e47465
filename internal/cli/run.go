package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type runOptions struct {
	request
	quiet bool
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run <agent> [--prompt <text>] [-- args...]",
		Short: "Run an agent to its end, without a terminal",
		Long: `Run an agent with a prompt in a bottle of its own, to its end. The agent's output
goes to standard output and standard error, its exit code is the exit code. This
is for scripts: it never asks. A claude or codex agent needs the prompt, a shell agent
takes one. What a launch must not pass over still refuses it.

Ctrl-C interrupts the agent; a second one stops the bottle.`,
		Example: `  claude-bottle run researcher --prompt "list the open questions in NOTES.md" --cwd
  claude-bottle run tester --prompt "go test ./..." --cwd --quiet > report.txt`,
		GroupID:           groupBottles,
		Args:              agentThenArgs(1),
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.agent, o.args = splitArgs(cmd, args)
			return a.run(cmd.Context(), o)
		},
	}
	a.addRequestFlags(cmd, &o.request)
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "say nothing but what the agent says")
	return cmd
}

func (a *app) run(ctx context.Context, o runOptions) error {
	m, err := a.ensureManifests()
	if err != nil {
		return err
	}
	o.headless = true
	p, err := a.prepare(m, o.request)
	if err != nil {
		return err
	}
	if err := p.stopped(false); err != nil {
		return err
	}
	if !o.quiet {
		p.warnings(a.sys.Stderr)
		st := a.sys.styleFor(a.sys.Stderr)
		putln(a.sys.Stderr, st.dim(fmt.Sprintf("%s: %s, %s bottle, %s", p.plan.ID, p.provider(), safe(p.plan.Backend),
			count(len(p.plan.Routes), "route out", "routes out"))))
	}
	return a.runHeadless(ctx, p, o.quiet)
}
