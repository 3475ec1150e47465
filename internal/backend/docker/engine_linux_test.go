package docker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/engine"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// carries says that a bottle's folders are copies on this engine.
func (k kind) carries() bool { return k.tls || k.runtime == gvisor && os.Geteuid() == 0 }

// api is the engine itself, as anybody may ask it who may use it.
func (k kind) api(t *testing.T) client.APIClient {
	t.Helper()
	w, err := k.where()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Connect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // nothing is under way any more
	return e.API()
}

// aSpecOn is aSpec with a system and a file in the workspace.
func (k kind) aSpecOn(t *testing.T) backend.Spec {
	t.Helper()
	s := aSpec(t)
	s.System = k.system()
	write(t, filepath.Join(workOf(s), "thesis"), "years of work")
	return s
}

func workOf(s backend.Spec) string { return s.Mounts[1].Source }

// up starts a bottle that is stopped with the test.
func (k kind) up(t *testing.T, s backend.Spec) backend.Bottle {
	t.Helper()
	b, err := k.open("").Start(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// sh runs a script in a bottle that must succeed.
func sh(t *testing.T, b backend.Bottle, script string) {
	t.Helper()
	if err := execute(t.Context(), b, script); err != nil {
		t.Fatal(err)
	}
}

func execute(ctx context.Context, b backend.Bottle, script string) error {
	p, err := wire.Exec(ctx, b.Wire(), wire.Command{Argv: []string{"/bin/sh", "-ec", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"})
	if err != nil {
		return err
	}
	_ = p.Stdin.Close() // nothing comes
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		return fmt.Errorf("%s: %+v, %w", script, exit, err)
	}
	return nil
}

// remains are what is left of a bottle, in the engine and on this host.
func (k kind) remains(t *testing.T, s backend.Spec) []string {
	t.Helper()
	var out []string
	left, err := k.open("").Found(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l.ID == s.ID {
			out = append(out, l.What)
		}
	}
	// The engine is asked again, without our labels.
	api, ctx := k.api(t), context.Background()
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers.Items {
		if slices.ContainsFunc(c.Names, func(n string) bool { return strings.Contains(n, s.ID.String()) }) {
			out = append(out, "the engine's container "+c.Names[0])
		}
	}
	volumes, err := api.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes.Items {
		if strings.Contains(v.Name, s.ID.String()) {
			out = append(out, "the engine's volume "+v.Name)
		}
	}
	for _, at := range mountsIn(t, s.Dir) {
		out = append(out, "the mount "+at)
	}
	return out
}

// mountsIn are this host's mount points in dir.
func mountsIn(t *testing.T, dir string) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range bytes.Lines(table) {
		if at := string(bytes.Fields(line)[4]); strings.HasPrefix(at, dir+"/") {
			out = append(out, at)
		}
	}
	return out
}

// inspected is what the engine tells of a container, whole and as we read it.
func (k kind) inspected(t *testing.T, id bottle.ID) (string, container.InspectResponse) {
	t.Helper()
	r, err := k.api(t).ContainerInspect(t.Context(), containerName(id), client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Raw), r.Container
}
