package smolmachines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/smolvm"
)

// Kept implements backend.Keeper: packed images, and what is left of packings that broke off.
func (b *Backend) Kept(ctx context.Context) ([]backend.Kept, error) {
	out, err := keptIn(b.cache())
	if err != nil {
		return nil, err
	}
	t, err := smolvm.Find(b.env, b.home())
	if err != nil {
		return out, nil // there is none, so nothing of it runs
	}
	strays, err := t.Strays(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range strays {
		out = append(out, backend.Kept{ID: strayPrefix + s.Name, What: fmt.Sprintf("machine %s of a packing that broke off (process %d)", s.Name, s.PID), Waste: true})
	}
	return out, nil
}

const strayPrefix = "stray:"

// lockSuffix ends the names of the locks that launches which pack one image hold.
const lockSuffix = ".lock"

func keptIn(dir string) ([]backend.Kept, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var out []backend.Kept
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			continue // it is gone
		}
		switch name := e.Name(); {
		case strings.HasPrefix(name, makingPrefix):
			if !makerLives(filepath.Join(dir, name)) {
				out = append(out, backend.Kept{ID: name, What: "folder " + filepath.Join(dir, name) + " of a packing that broke off", Waste: true})
			}
		case strings.HasSuffix(name, lockSuffix):
			if !makerLives(filepath.Join(dir, name)) {
				out = append(out, backend.Kept{ID: name, What: "lock " + filepath.Join(dir, name) + " of a packing that broke off", Waste: true})
			}
		case strings.HasSuffix(name, smolvm.ArtifactSuffix):
			what := "packed image"
			var a about
			if text, err := os.ReadFile(aboutPath(filepath.Join(dir, name))); err == nil && json.Unmarshal(text, &a) == nil && a.Ref != "" {
				what += " of " + a.Ref
			}
			out = append(out, backend.Kept{ID: name, What: fmt.Sprintf("%s, %d MB, last used %s", what, st.Size()/1_000_000, st.ModTime().Format(time.DateOnly))})
		}
	}
	return out, nil
}

// Discard implements backend.Keeper. A machine has its own copy of what it was made from.
func (b *Backend) Discard(ctx context.Context, id string) error {
	if name, ok := strings.CutPrefix(id, strayPrefix); ok {
		t, err := smolvm.Find(b.env, b.home())
		if err != nil {
			return err
		}
		strays, err := t.Strays(ctx)
		if err != nil {
			return err
		}
		for _, s := range strays {
			if s.Name == name {
				return s.End(ctx)
			}
		}
		return nil
	}
	if id != filepath.Base(id) || id == "." || id == ".." {
		return fmt.Errorf("%q is nothing that is kept", id)
	}
	path := filepath.Join(b.cache(), id)
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if err := os.Remove(aboutPath(path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
