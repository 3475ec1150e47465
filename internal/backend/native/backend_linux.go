package native

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/cgroup"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Backend is the native backend. Its methods are safe for concurrent use.
type Backend struct{ exe string }

// New returns the backend. exe is the absolute path of this program, or of any other whose main
// calls CorkMain when its one argument is backend.CorkCommand.
func New(exe string) *Backend { return &Backend{exe} }

// Name implements backend.Backend.
func (*Backend) Name() string { return Name }

// Found implements backend.Backend: control groups are all that can outlive a bottle here, since
// everything else goes with its processes.
func (*Backend) Found(ctx context.Context) ([]backend.Leftover, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	layout, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	var out []backend.Leftover
	for _, l := range layout.Names() {
		id, err := bottle.ParseID(l.Name)
		if err != nil {
			continue // not made by us
		}
		for _, dir := range l.Dirs {
			out = append(out, backend.Leftover{ID: id, What: "cgroup " + dir, Idle: cgroup.Idle(dir, time.Now())})
		}
	}
	return out, nil
}

// Remove implements backend.Backend.
func (*Backend) Remove(ctx context.Context, id bottle.ID) error {
	if id.IsZero() {
		return errors.New("remove a bottle without an id")
	}
	layout, err := cgroup.Find()
	if err != nil {
		return err
	}
	if err := layout.Open(id.String()).Remove(ctx); err != nil {
		return fmt.Errorf("remove what is left of %s: %w", id, err)
	}
	return nil
}
