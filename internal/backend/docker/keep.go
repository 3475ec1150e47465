package docker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/system"
	"github.com/claude-bottle/claude-bottle/internal/engine"
	"github.com/claude-bottle/claude-bottle/internal/image"
)

// Describe implements backend.Describer.
func (b *Backend) Describe(ctx context.Context) (backend.Description, error) {
	e, err := b.connect(ctx)
	if err != nil {
		return backend.Description{}, err
	}
	defer e.Close() // nothing is under way any more
	i := e.Info()
	name := map[string]string{engine.Docker: "Docker", engine.Podman: "Podman"}[i.Kind]
	text := fmt.Sprintf("%s %s (API %s, %s/%s) at %s; runtimes: %s", name, i.Version, i.APIVersion, i.OS, i.Arch, e.Where(), strings.Join(i.Runtimes, ", "))
	if r, err := i.PickRuntime(""); err == nil && r == gvisor {
		text += "; gVisor is preferred"
	}
	if !i.SharesUsers {
		text += "; folders are copied in and out"
	}
	return backend.Description{Text: text}, nil
}

// Kept implements backend.Keeper: the images that bottles are made from.
func (b *Backend) Kept(ctx context.Context) ([]backend.Kept, error) {
	e, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close() // nothing is under way any more
	made, err := image.Found(ctx, system.Engine(e))
	if err != nil {
		return nil, err
	}
	var out []backend.Kept
	for _, m := range made {
		name := "image " + strings.Join(m.Tags, ", ")
		waste := len(m.Tags) == 0 && !m.InUse && time.Since(m.Created) > young
		if len(m.Tags) == 0 {
			name = "image " + shortID(m.ID) + " of a build that did not end"
		}
		out = append(out, backend.Kept{ID: m.ID, What: fmt.Sprintf("%s, %d MB", name, m.Size/1_000_000), Waste: waste, InUse: m.InUse})
	}
	return out, nil
}

// Discard implements backend.Keeper.
func (b *Backend) Discard(ctx context.Context, id string) error {
	e, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer e.Close() // nothing is under way any more
	return image.Remove(ctx, system.Engine(e), id)
}

// shortID is an image's id as engines show it.
func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
