package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/engine"
)

func TestAnEnginesErrorsAreExplained(t *testing.T) {
	t.Parallel()
	cause := errors.New("dial unix /run/docker.sock: broken pipe")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"none":                {nil, ""},
		"its own words do":    {cause, cause.Error()},
		"a full disk":         {errors.New("write /var/lib/docker/x: no space left on device"), "write /var/lib/docker/x: no space left on device; the engine's disk is full: free some with \"docker system prune\", then try again"},
		"a runtime":           {errors.New("Unknown or invalid runtime name: kata"), "Unknown or invalid runtime name: kata; the engine has no such runtime: \"docker info\" lists what is registered"},
		"what moves a cursor": {errors.New("bad\x1b[2Jimage\r\n"), `bad\x1b[2Jimage\r\n`},
	} {
		got := explain(c.err)
		if (got == nil) != (c.err == nil) || got != nil && got.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
	if got := explain(errors.New(strings.Repeat("long ", 1000))); len(got.Error()) > maxWords {
		t.Errorf("an error has %d bytes", len(got.Error()))
	}
	if !errors.Is(explain(fmt.Errorf("no space left on device: %w", cause)), cause) {
		t.Error("the cause is lost on the way")
	}
}

func TestWhatIsNotThereIsRemoved(t *testing.T) {
	t.Parallel()
	if err := gone("remove it", fmt.Errorf("no such container: %w", errdefs.ErrNotFound)); err != nil {
		t.Error(err)
	}
	if err := gone("remove it", nil); err != nil {
		t.Error(err)
	}
	busy := errors.New("it is in use")
	if err := gone("remove it", busy); !errors.Is(err, busy) || !strings.HasPrefix(err.Error(), "remove it: ") {
		t.Error(err)
	}
}

func TestNobodysRemainsAreNotRemoved(t *testing.T) {
	t.Parallel()
	b := &Backend{where: func() (engine.Where, error) {
		t.Error("the engine was asked")
		return engine.Where{}, errors.New("none")
	}}
	if err := b.Remove(t.Context(), bottle.ID{}); err == nil {
		t.Error("a bottle without an id was removed: that would be all of them")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("changed my mind")
	cancel(cause)
	if _, err := b.Found(ctx); !errors.Is(err, cause) {
		t.Errorf("found with a context that has ended: %v", err)
	}
}
