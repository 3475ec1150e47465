package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/state"
)

type listOptions struct {
	all    bool
	asJSON bool
}

func (a *app) listCommand() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "ps"},
		Short:   "List running bottles",
		Long: `List running bottles, and with --all also the ended ones whose folder was kept.

With --json it prints an array with everything that is known about each.`,
		Example: "  claude-bottle list\n  claude-bottle list --all\n  claude-bottle list --json | jq -r '.[].id'",
		Args:    noArgs,
		GroupID: groupBottles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVarP(&o.all, "all", "a", false, "also ended bottles whose folder was kept")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) list(ctx context.Context, o listOptions) error {
	if _, err := a.ensureManifests(); err != nil {
		return err
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	entries, err := store.List(ctx)
	if err != nil {
		return err
	}
	shown, ended := []state.Entry{}, 0
	for _, e := range entries {
		// A folder with a problem is shown always: it is what the operator has to look at.
		if o.all || e.Problem != "" || !e.State.Ended() {
			shown = append(shown, e)
		} else {
			ended++
		}
	}
	if o.asJSON {
		return printJSON(a.sys.Stdout, shown)
	}
	if len(shown) > 0 {
		printBottles(a.sys, shown, time.Now())
	}
	switch {
	case len(shown) == 0 && ended == 0:
		putln(a.sys.Stderr, "no bottles; start one with: claude-bottle start")
	case len(shown) == 0:
		putf(a.sys.Stderr, "no bottle is running; %s kept (claude-bottle list --all)\n", count(ended, "ended one is", "ended ones are"))
	}
	return nil
}

func printBottles(sys *System, entries []state.Entry, now time.Time) {
	st := sys.styleFor(sys.Stdout)
	t := table{head: []string{"ID", "STATE", "AGENT", "BACKEND", "AGE", "LABEL"}}
	for _, e := range entries {
		if e.Problem != "" {
			t.add(e.ID.String(), st.red("broken"), "", "", "", safe(e.Problem))
			continue
		}
		label := safe(e.Label)
		if e.Reason != "" {
			label = joinNonEmpty("  ", label, st.dim(safe(e.Reason)))
		}
		t.add(st.bold(e.ID.String()), paintState(st, e.Metadata), e.Agent.String(), safe(e.Backend), age(now.Sub(e.Started)), label)
	}
	t.print(sys.Stdout, st)
}

func paintState(st style, m state.Metadata) string {
	s := m.State.String()
	switch {
	case m.Exit != nil && m.State.Ended():
		if s = fmt.Sprintf("%s (%d)", s, *m.Exit); *m.Exit != 0 {
			return st.red(s)
		}
		return st.dim(s)
	case m.State.Ended():
		return st.red(s)
	default:
		return st.green(s)
	}
}
