package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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

// An engine of another processor, or any engine of a host that isn't Linux, runs the program beside
// ours that is named for it.
func TestCorkIsTheProgramForTheEnginesProcessor(t *testing.T) {
	t.Parallel()
	b := &Backend{exe: filepath.Join(t.TempDir(), "claude-bottle")}
	beside := b.exe + "-linux-riscv64"
	_, err := b.corkFor("riscv64")
	missing, ok := errors.AsType[*noCorkError](err)
	if !ok || !strings.Contains(missing.Error(), "linux/riscv64") || !strings.Contains(missing.Hint(), "GOARCH=riscv64") || !strings.Contains(missing.Hint(), beside) {
		t.Errorf("without it: %v", err)
	}
	if err := os.WriteFile(beside, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := b.corkFor("riscv64"); err != nil || got != beside {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := b.corkFor(runtime.GOARCH); runtime.GOOS == "linux" && (err != nil || got != b.exe) {
		t.Errorf("our own: %q, %v", got, err)
	}
}
