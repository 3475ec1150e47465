package cli

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// finder is a backend that only finds and removes.
type finder struct {
	backend.Backend
	removed []string
}

func (f *finder) Remove(_ context.Context, id bottle.ID) error {
	f.removed = append(f.removed, id.String())
	return nil
}

func TestCleanupNeverTouchesWhatMayLive(t *testing.T) {
	t.Parallel()
	id := func(s string) bottle.ID {
		id, err := bottle.ParseID(s)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	f := &finder{}
	found := []backend.Leftover{
		{ID: id("ours-ended"), What: "cgroup"},
		{ID: id("ours-alive"), What: "cgroup", Idle: true},
		{ID: id("other-aaaa1"), What: "cgroup"},
		{ID: id("other-aaaa2"), What: "cgroup", Idle: true},
	}
	for _, l := range backendLeftovers(f, found, map[bottle.ID]bool{id("ours-ended"): true, id("ours-alive"): false}) {
		if err := l.remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"ours-ended", "other-aaaa2"}, f.removed); d != "" {
		t.Error(d)
	}
}
