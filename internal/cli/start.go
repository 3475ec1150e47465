package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
)

type startOptions struct {
	request
	dryRun bool
	asJSON bool
	yes    bool
	detach bool
}

func (a *app) startCommand() *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start [agent] [-- args...]",
		Short: "Start an agent in a bottle and attach to it",
		Long: `Start an agent in a bottle of its own and attach this terminal to it.

First it shows what the bottle will hold and may reach, and asks. Closing the
terminal or pressing the detach key leaves the bottle running: claude-bottle
attach comes back to it. The bottle ends when the agent exits.

Without an agent's name it starts the only one there is, or asks which. What follows -- is
passed to the agent's program.`,
		Example: `  claude-bottle start researcher
  claude-bottle start researcher --cwd --prompt "fix the failing test"
  claude-bottle start researcher --bottle base --bottle github
  claude-bottle start researcher --dry-run --json
  id=$(claude-bottle start researcher --yes --detach)`,
		GroupID:           groupBottles,
		Args:              agentThenArgs(0),
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.agent, o.args = splitArgs(cmd, args)
			if o.asJSON && !o.dryRun {
				return usageError{"--json goes with --dry-run: a start asks and attaches", "claude-bottle list --json tells about what runs"}
			}
			return a.start(cmd.Context(), o)
		},
	}
	a.addRequestFlags(cmd, &o.request)
	cmd.Flags().BoolVarP(&o.dryRun, "dry-run", "n", false, "show what would be started, and stop there")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "with --dry-run: print the plan as JSON")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVarP(&o.detach, "detach", "d", false, "don't attach; print the bottle's ID")
	return cmd
}

// agentThenArgs accepts an agent's name (at least least of them) and, after "--", anything.
func agentThenArgs(least int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if n := cmd.ArgsLenAtDash(); n >= 0 {
			args = args[:n]
		}
		return argsBetween(least, 1, "one agent's name")(cmd, args)
	}
}

// splitArgs tells the agent's name from what follows "--".
func splitArgs(cmd *cobra.Command, args []string) (agent string, rest []string) {
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		args, rest = args[:n], args[n:]
	}
	if len(args) > 0 {
		agent = args[0]
	}
	return agent, rest
}

func (a *app) start(ctx context.Context, o startOptions) error {
	m, err := a.ensureManifests()
	if err != nil {
		return err
	}
	if o.agent == "" {
		if err := a.whichAgent(ctx, m, &o); err != nil {
			return err
		}
	}
	p, err := a.prepare(m, o.request)
	if err != nil {
		return err
	}
	if !o.dryRun && !o.detach && !isTerminal(a.sys.Stdin) {
		return withHint(errors.New("standard input is no terminal to attach"), "claude-bottle start --detach leaves it running; claude-bottle run is for scripts")
	}
	switch {
	case o.asJSON:
		err = printJSON(a.sys.Stdout, p.plan)
	case o.dryRun:
		p.print(a.sys.Stdout, a.sys.styleFor(a.sys.Stdout))
	default:
		p.print(a.sys.Stderr, a.sys.styleFor(a.sys.Stderr))
	}
	if err != nil {
		return err
	}
	if err := p.stopped(!o.asJSON); err != nil || o.dryRun {
		return err
	}
	if !o.yes {
		yes, err := a.sys.confirm("launch " + p.plan.ID.String() + "?")
		if err != nil {
			return err
		}
		if !yes {
			return refusedError{"not launched", ""}
		}
	}
	return a.launch(ctx, p, o.detach)
}

// whichAgent settles the agent that was not named: the only one there is, or the one the operator picks
// where there is a terminal to pick in. What flags say already is not asked again.
func (a *app) whichAgent(ctx context.Context, m *manifest.Manifest, o *startOptions) (err error) {
	if len(m.Summaries()) < 2 || o.dryRun || o.yes || !isTerminal(a.sys.Stdin) || !isTerminal(a.sys.Stdout) {
		o.agent, err = onlyAgent(m)
		return err
	}
	return a.pickRequest(ctx, &o.request)
}

// onlyAgent returns the agent meant when none was named.
func onlyAgent(m *manifest.Manifest) (string, error) {
	all := m.Summaries()
	switch len(all) {
	case 0:
		return "", notFoundError{"there is no agent yet", "write agents/<name>.md into your claude-bottle home"}
	case 1:
		return all[0].Name.String(), nil
	}
	var b strings.Builder
	b.WriteString("which agent?")
	for _, s := range all {
		about := safe(s.Description)
		if s.Broken {
			about = "(its file has mistakes)"
		}
		b.WriteString("\n  " + strings.TrimRight(fmt.Sprintf("%-20s %s", s.Name, clip(about, 56)), " "))
	}
	return "", usageError{b.String(), "claude-bottle start <agent>"}
}

// stopped is the error for the plan's Stop notes, nil when there are none. Where the preflight was
// just shown it repeats what mends them, not the reasons.
func (p preflight) stopped(shown bool) error {
	stops := p.plan.Stops()
	if len(stops) == 0 {
		return nil
	}
	var errs []error
	for _, n := range stops {
		errs = append(errs, withHint(errors.New(n.Text), "%s", n.Fix))
	}
	if !shown {
		return errors.Join(errs...)
	}
	return withHint(errors.New("this can't be launched: see what says \"stop\" above"), "%s", strings.Join(hints(errors.Join(errs...)), "\n"))
}
