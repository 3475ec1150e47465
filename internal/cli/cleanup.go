package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

type cleanupOptions struct {
	preview bool
	yes     bool
	cache   bool
}

func (a *app) cleanupCommand() *cobra.Command {
	var o cleanupOptions
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove what ended bottles and crashes left",
		Long: `Remove the folders of ended bottles, agent's home and workspace included, and what
backends left of bottles that are gone: containers, volumes, images, control groups.
Running bottles are not touched. It shows everything first and asks.

Files of a bottle that are still in a container engine are copied to its folder
first, and that folder is then kept. With --cache the images that bottles are made
from go as well; the next start builds them anew.`,
		Example: "  claude-bottle cleanup -n        only show\n  claude-bottle cleanup --yes     don't ask\n  claude-bottle cleanup --cache   images too",
		Args:    noArgs,
		GroupID: groupBottles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.cleanup(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVarP(&o.preview, "dry-run", "n", false, "show what would be removed, and stop there")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&o.cache, "cache", false, "also what is kept from one bottle to the next: images")
	return cmd
}

// leftover is one thing that can be removed.
type leftover struct {
	what   string
	remove func(context.Context) error
}

func (a *app) cleanup(ctx context.Context, o cleanupOptions) error {
	found, err := a.leftovers(ctx, o.cache)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		putln(a.sys.Stderr, "nothing to clean up")
		return nil
	}
	for _, l := range found {
		putln(a.sys.Stdout, safe(l.what))
	}
	if o.preview {
		return nil
	}
	if !o.yes {
		yes, err := a.sys.confirm(fmt.Sprintf("remove %s?", count(len(found), "thing", "things")))
		if err != nil {
			return err
		}
		if !yes {
			return refusedError{"nothing was removed", ""}
		}
	}
	return removeAll(ctx, a.sys.Stderr, found)
}

// removeAll removes each thing and tells all failures, not the first alone.
func removeAll(ctx context.Context, w io.Writer, found []leftover) error {
	var errs []error
	for _, l := range found {
		if err := l.remove(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	putf(w, "removed %s\n", count(len(found)-len(errs), "thing", "things"))
	return errors.Join(errs...)
}

// leftovers lists what ended bottles left: what the backends know of, then the folders, of bottles no
// warden holds. With cache it lists also what backends keep for the next bottles.
func (a *app) leftovers(ctx context.Context, cache bool) ([]leftover, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	entries, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	ended := map[bottle.ID]bool{} // false for those that live
	for _, e := range entries {
		ended[e.ID] = !e.Alive && (e.State.Ended() || e.Problem != "")
	}
	backends, err := a.backends()
	if err != nil {
		return nil, err
	}
	var out []leftover
	kept := map[bottle.ID]bool{} // whose folders stay
	for _, b := range backends {
		things, err := b.Found(ctx)
		if errors.Is(err, backend.ErrUnavailable) {
			a.keepUnseen(b, err, entries, ended, kept)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", b.Name(), err)
		}
		for _, t := range things {
			kept[t.ID] = kept[t.ID] || t.Brings
		}
		out = append(out, backendLeftovers(b, things, ended)...)
		if k, ok := b.(backend.Keeper); ok {
			more, err := keptThings(ctx, k, cache)
			if err != nil {
				return nil, fmt.Errorf("backend %s: %w", b.Name(), err)
			}
			out = append(out, more...)
		}
	}
	for _, e := range entries {
		if ended[e.ID] && !kept[e.ID] {
			out = append(out, leftover{describe(e), e.Dir.Remove})
		}
	}
	return out, nil
}

// keepUnseen keeps the folders of bottles whose backend can't be asked: they are what tells of what
// may be left there.
func (a *app) keepUnseen(b backend.Backend, why error, entries []state.Entry, ended, kept map[bottle.ID]bool) {
	unseen := 0
	for _, e := range entries {
		if ended[e.ID] && e.Problem == "" && e.Backend == b.Name() {
			kept[e.ID] = true
			unseen++
		}
	}
	if unseen > 0 {
		putf(a.sys.Stderr, "%s of the %s backend stay: %s\n", count(unseen, "ended bottle", "ended bottles"), b.Name(), safe(why.Error()))
	}
}

// keptThings lists what a backend keeps and nothing can use any more, or with cache all that nothing
// uses now.
func keptThings(ctx context.Context, k backend.Keeper, cache bool) ([]leftover, error) {
	things, err := k.Kept(ctx)
	if err != nil {
		return nil, err
	}
	var out []leftover
	for _, t := range things {
		if t.Waste || cache && !t.InUse {
			out = append(out, leftover{t.What, func(ctx context.Context) error { return k.Discard(ctx, t.ID) }})
		}
	}
	return out, nil
}

// backendLeftovers picks what may be removed of what a backend found: everything of our ended
// bottles, nothing of our living ones, and of bottles this home doesn't know only what is idle,
// since they may live in another home.
func backendLeftovers(b backend.Backend, things []backend.Leftover, ended map[bottle.ID]bool) []leftover {
	var out []leftover
	for _, thing := range things {
		over, ours := ended[thing.ID]
		if over || !ours && thing.Idle {
			what := fmt.Sprintf("%s: %s", thing.ID, thing.What)
			if thing.Brings && over {
				what += " (its files are copied to the bottle's folder, which is kept)"
			}
			out = append(out, leftover{
				what,
				func(ctx context.Context) error { return b.Remove(ctx, thing.ID) },
			})
		}
	}
	return out
}

func describe(e state.Entry) string {
	if e.Problem != "" {
		return fmt.Sprintf("%s: broken folder %s (%s)", e.ID, e.Dir.Path(""), e.Problem)
	}
	return fmt.Sprintf("%s: folder %s (%s)", e.ID, e.Dir.Path(""), endedHow(e.Metadata))
}
