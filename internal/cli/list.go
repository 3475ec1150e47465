package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

type listOptions struct {
	all    bool
	wide   bool
	asJSON bool
}

// listed is one bottle as "list --json" prints it.
type listed struct {
	state.Entry
	// Usage is what the bottle took so far, with --wide.
	Usage *usage.Totals `json:"usage,omitempty"`
}

func (a *app) listCommand() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "ps"},
		Short:   "List running bottles",
		Long: `List running bottles, and with --all also the ended ones whose folder was kept.

With --wide it shows also how many tokens each has used and what they cost, which
takes the reading of its audit log; usage tells more. With --json it prints an array
with everything that is known about each.`,
		Example: "  claude-bottle list\n  claude-bottle list --all --wide\n  claude-bottle list --json | jq -r '.[].id'",
		Args:    noArgs,
		GroupID: groupBottles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVarP(&o.all, "all", "a", false, "also ended bottles whose folder was kept")
	cmd.Flags().BoolVarP(&o.wide, "wide", "w", false, "also tokens and cost")
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
	shown, ended := []listed{}, 0
	for _, e := range entries {
		// A folder with a problem is shown always: it is what the operator has to look at.
		if o.all || e.Problem != "" || !e.State.Ended() {
			shown = append(shown, listed{Entry: e})
		} else {
			ended++
		}
	}
	var unread error
	if o.wide {
		if unread, err = a.meter(shown); err != nil {
			return err
		}
	}
	if o.asJSON {
		return errors.Join(printJSON(a.sys.Stdout, shown), unread)
	}
	if len(shown) > 0 {
		printBottles(a.sys, shown, o.wide, time.Now())
	}
	switch {
	case len(shown) == 0 && ended == 0:
		putln(a.sys.Stderr, "no bottles; start one with: claude-bottle start")
	case len(shown) == 0:
		putf(a.sys.Stderr, "no bottle is running; %s kept (claude-bottle list --all)\n", count(ended, "ended one is", "ended ones are"))
	}
	return unread
}

// meter adds to each bottle what it took. The first error is of logs that could not be read, whose
// bottles have what was read of them.
func (a *app) meter(bottles []listed) (unread, err error) {
	prices, err := a.prices()
	if err != nil {
		return nil, err
	}
	for i := range bottles {
		b := &bottles[i]
		if b.Problem != "" {
			continue
		}
		rows, err := readUsage(b.Dir, prices, time.Time{})
		unread = errors.Join(unread, err)
		_, total := groupUsage(rows, "bottle")
		b.Usage = &total
	}
	return unread, nil
}

func printBottles(sys *System, bottles []listed, wide bool, now time.Time) {
	st := sys.styleFor(sys.Stdout)
	t := table{head: []string{"ID", "STATE", "AGENT", "BACKEND", "AGE", "LABEL"}}
	if wide {
		t.head = slices.Insert(t.head, len(t.head)-1, "TOKENS", "COST")
	}
	for _, e := range bottles {
		if e.Problem != "" {
			cells := make([]string, len(t.head))
			cells[0], cells[1], cells[len(cells)-1] = e.ID.String(), st.red("broken"), safe(e.Problem)
			t.add(cells...)
			continue
		}
		label := safe(e.Label)
		if e.Reason != "" {
			label = joinNonEmpty("  ", label, st.dim(safe(e.Reason)))
		}
		cells := []string{st.bold(e.ID.String()), paintState(st, e.Metadata), e.Agent.String(), safe(e.Backend), age(now.Sub(e.Started)), label}
		if wide {
			tokens, cost := none, none
			if !e.Usage.Tokens.Zero() {
				tokens, cost = countText(e.Usage.Tokens.Sum()), costText(*e.Usage)
			}
			cells = slices.Insert(cells, len(cells)-1, tokens, cost)
		}
		t.add(cells...)
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
