package image_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/image"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

func TestCleanupSeesWhatIsOursAndTakesItAway(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		s := w.dockerfile("RUN echo " + w.id)
		img := w.must(s)
		find := func(id string) *image.Made {
			made, err := image.Found(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range made {
				if strings.TrimPrefix(m.ID, "sha256:") == strings.TrimPrefix(id, "sha256:") {
					return &m
				}
			}
			return nil
		}
		m := find(img.ID)
		if m == nil || len(m.Tags) != 2 || m.InUse || !m.Current || m.Size == 0 || time.Since(m.Created) > time.Hour {
			t.Fatalf("found %+v", m)
		}
		// What somebody makes from our image is theirs, though it inherits the labels.
		c, err := e.API.ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: &container.Config{Image: img.ID, Cmd: []string{"true"}}})
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := e.API.ContainerCommit(t.Context(), c.ID, client.ContainerCommitOptions{Reference: "theirs:" + w.id, Config: &container.Config{}})
		if err != nil {
			t.Fatal(err)
		}
		w.images = append(w.images, "sha256:"+strings.TrimPrefix(theirs.ID, "sha256:"))
		if m := find(theirs.ID); m != nil {
			t.Errorf("somebody else's image is taken for ours: %+v", m)
		}
		if err := image.Remove(t.Context(), e, theirs.ID); err == nil {
			t.Error("somebody else's image was removed")
		}
		if m := find(img.ID); m == nil || !m.InUse {
			t.Errorf("with a container: %+v", m)
		}
		if err := remove(e, theirs.ID, c.ID); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time there is nothing, and no error
			if err := image.Remove(t.Context(), e, img.ID); err != nil {
				t.Fatal(err)
			}
		}
		if m := find(img.ID); m != nil {
			t.Errorf("still there: %+v", m)
		}
		if again := w.must(s); !again.Built {
			t.Errorf("after cleanup: %+v", again)
		}
	})
}

func remove(e image.Engine, img, ctr string) error {
	ctx := context.Background()
	_, err := e.API.ImageRemove(ctx, img, client.ImageRemoveOptions{Force: true})
	_, err2 := e.API.ContainerRemove(ctx, ctr, client.ContainerRemoveOptions{Force: true})
	return errors.Join(err, err2)
}
