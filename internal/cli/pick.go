package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/state"
)

// pick finds the bottle an operator means: by ID, by the only ID that starts so, or by label.
// Broken folders are found by ID too, so that they can be looked at.
func pick(ctx context.Context, store *state.Store, name string) (state.Entry, error) {
	entries, err := store.List(ctx)
	if err != nil {
		return state.Entry{}, err
	}
	var byPrefix, byLabel []state.Entry
	for _, e := range entries {
		switch id := e.ID.String(); {
		case id == name:
			return e, nil
		case strings.HasPrefix(id, name):
			byPrefix = append(byPrefix, e)
		}
		if e.Label == name {
			byLabel = append(byLabel, e)
		}
	}
	for _, found := range [][]state.Entry{live(byLabel), byLabel, live(byPrefix), byPrefix} {
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return state.Entry{}, ambiguous(name, found)
		}
	}
	return state.Entry{}, notFoundError{fmt.Sprintf("there is no bottle %q", name), "claude-bottle list --all shows all there are"}
}

// live keeps the entries that have not ended: among several with one label or prefix, the running
// one is meant.
func live(entries []state.Entry) []state.Entry {
	var out []state.Entry
	for _, e := range entries {
		if !e.State.Ended() {
			out = append(out, e)
		}
	}
	return out
}

func ambiguous(name string, found []state.Entry) error {
	return notFoundError{fmt.Sprintf("%q could be any of %s", name, strings.Join(ids(found), ", ")), "type more of the ID"}
}

func ids(entries []state.Entry) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.ID.String()
	}
	return out
}

// only is the one bottle that is running, for verbs whose bottle need not be named.
func only(ctx context.Context, store *state.Store) (state.Entry, error) {
	entries, err := store.List(ctx)
	if err != nil {
		return state.Entry{}, err
	}
	var found []state.Entry
	for _, e := range entries {
		if e.Alive && e.Problem == "" {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return state.Entry{}, notFoundError{"no bottle is running", "claude-bottle start begins one"}
	case 1:
		return found[0], nil
	}
	return state.Entry{}, notFoundError{"several bottles are running: " + strings.Join(ids(found), ", "), "say which: claude-bottle attach " + found[0].ID.String()}
}

// running is pick for the verbs that talk to a bottle's warden.
func running(ctx context.Context, store *state.Store, name string) (state.Entry, error) {
	e, err := pick(ctx, store, name)
	switch {
	case err != nil:
		return e, err
	case e.Problem != "":
		return e, withHint(fmt.Errorf("bottle %s: %w", e.ID, errors.New(e.Problem)), "claude-bottle cleanup removes what is broken")
	case e.State.Ended() || !e.Alive:
		return e, notFoundError{fmt.Sprintf("bottle %s is not running: it is %s", e.ID, endedHow(e.Metadata)), "claude-bottle logs " + e.ID.String() + " shows how it ended"}
	}
	return e, nil
}

func endedHow(m state.Metadata) string {
	how := m.State.String()
	if m.Exit != nil {
		how = fmt.Sprintf("%s, the agent exited with code %d", how, *m.Exit)
	}
	return joinNonEmpty("; ", how, m.Reason)
}
