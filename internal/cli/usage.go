package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// pricesFile is the operator's own prices, in the home folder.
const pricesFile = "prices.yaml"

type usageOptions struct {
	all    bool
	since  string
	by     string
	asJSON bool
}

func (a *app) usageCommand() *cobra.Command {
	var o usageOptions
	cmd := &cobra.Command{
		Use:   "usage [bottle...]",
		Short: "Show what bottles took: requests, bytes, tokens, cost",
		Long: `Show what bottles sent and got, and how many tokens of which models they used, from
their audit logs: of the running bottles, of those named, or with --all of the ended
ones too whose folder was kept. Only requests that were allowed are counted.

INPUT is all that a model read, CACHED the part of it that came from a cache. COST is
at list price, whatever a contract or a subscription says; prices.yaml in the
home folder comes before the list (docs/USAGE.md).`,
		Example: `  claude-bottle usage
  claude-bottle usage researcher-m3hxd --by host
  claude-bottle usage --all --since 7d --by day
  claude-bottle usage --all --json | jq .total.cost_microusd`,
		GroupID:           groupBottles,
		Args:              argsBetween(0, -1, "bottles' IDs, the beginnings of them, or their labels"),
		ValidArgsFunction: a.completeIDs(0, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.all && len(args) > 0 {
				return usageError{"name bottles, or say --all", seeHelp(cmd)}
			}
			if o.by != "" {
				if err := oneOf("--by", o.by, usageBy...); err != nil {
					return err
				}
			}
			return a.usage(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "also ended bottles whose folder was kept")
	f.StringVar(&o.since, "since", "", "only the last hours or days: 90m, 24h, 7d")
	f.StringVar(&o.by, "by", "", "one row for each model, bottle, host or day (default each bottle and model)")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(usageBy, cobra.ShellCompDirectiveNoFileComp)) // fails for a flag that isn't there
	return cmd
}

func (a *app) usage(ctx context.Context, names []string, o usageOptions) error {
	since, err := sinceWhen(o.since, time.Now())
	if err != nil {
		return err
	}
	prices, err := a.prices()
	if err != nil {
		return err
	}
	entries, ended, err := a.metered(ctx, names, o.all)
	if err != nil {
		return err
	}
	var rows []usageRow
	var errs []error // a log that can't be read keeps nothing of the others back
	for _, e := range entries {
		found, err := readUsage(e.Dir, prices, since)
		rows, errs = append(rows, found...), append(errs, err)
	}
	shown, total := groupUsage(rows, o.by)
	switch {
	case o.asJSON:
		errs = append(errs, printJSON(a.sys.Stdout, usageReport{shown, total}))
	case len(shown) > 0:
		printUsage(a.sys, shown, total, o.by)
		a.tellGaps(rows)
	case len(entries) > 0:
		putln(a.sys.Stderr, joinNonEmpty(" ", "nothing was sent yet by", strings.Join(ids(entries), ", "))+within(o.since))
	case ended > 0:
		putf(a.sys.Stderr, "no bottle is running; %s kept (claude-bottle usage --all)\n", count(ended, "ended one is", "ended ones are"))
	default:
		putln(a.sys.Stderr, "no bottles; start one with: claude-bottle start")
	}
	return errors.Join(errs...)
}

func within(since string) string {
	if since == "" {
		return ""
	}
	return " in the last " + since
}

// prices returns the list prices with the operator's own before them.
func (a *app) prices() (*usage.Prices, error) {
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(home, pricesFile)
	own, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return usage.ListPrices(), nil
	case err != nil:
		return nil, fmt.Errorf("your prices: %w", err)
	}
	p, err := usage.ListPrices().Override(path, own)
	if err != nil {
		return nil, withHint(err, `a line is written so: claude-opus-4-5: {input: 5, output: 25, cache_read: 0.5}`)
	}
	return p, nil
}

// metered finds the bottles that are meant, and how many ended ones were left out.
func (a *app) metered(ctx context.Context, names []string, all bool) (entries []state.Entry, ended int, err error) {
	store, err := a.store()
	if err != nil {
		return nil, 0, err
	}
	if len(names) > 0 {
		seen := map[string]bool{}
		for _, name := range names {
			e, err := pick(ctx, store, name)
			if err != nil {
				return nil, 0, err
			}
			if id := e.ID.String(); !seen[id] {
				seen[id] = true
				entries = append(entries, e)
			}
		}
		return entries, 0, nil
	}
	found, err := store.List(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range found {
		switch {
		case e.Problem != "": // list shows it
		case all || !e.State.Ended():
			entries = append(entries, e)
		default:
			ended++
		}
	}
	return entries, ended, nil
}

// sinceWhen reads a duration back from now, which may be in days. Empty is the beginning.
func sinceWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	var d time.Duration
	var err error
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(s)
	}
	if err != nil || d <= 0 {
		return time.Time{}, usageError{fmt.Sprintf("--since %q is no span of time", s), "write it as 90m, 24h or 7d"}
	}
	return now.Add(-d), nil
}
