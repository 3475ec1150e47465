package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/image"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/moby/moby/api/types/container"
	imageapi "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
)

// overEngines runs test over every builder that is to work: none of the tests below is written for
// one of them.
func overEngines(t *testing.T, test func(t *testing.T, e image.Engine)) {
	t.Helper()
	for _, b := range []struct {
		name, variable, kind string
		buildKit             bool
	}{
		{"docker classic", "CLAUDE_BOTTLE_TEST_DOCKER", "docker", false},
		{"docker BuildKit", "CLAUDE_BOTTLE_TEST_DOCKER", "docker", true},
		{"podman", "CLAUDE_BOTTLE_TEST_PODMAN", "podman", false},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			api, err := client.New(client.WithHost(prerequisite(t, b.variable)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = api.Close() })
			test(t, image.Engine{API: api, Kind: b.kind, Arch: runtime.GOARCH, BuildKit: b.buildKit})
		})
	}
}

// prerequisite returns the value of an environment variable that says where tests find something
// real; where it is missing the test is skipped, but not in CI.
func prerequisite(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set", variable)
		}
		t.Skipf("no container engine to test with: %s is not set", variable)
	}
	return value
}

func base(t *testing.T) string { return prerequisite(t, "CLAUDE_BOTTLE_TEST_BASE") }

// world is one test's Dockerfile and program, with a name and images of its own.
type world struct {
	t       *testing.T
	e       image.Engine
	id      string
	dir     string // the context
	locks   string
	mu      sync.Mutex
	lines   []string
	onLine  func(string)
	log     bytes.Buffer
	images  []string
	network string
}

func newWorld(t *testing.T, e image.Engine) *world {
	t.Helper()
	w := &world{t: t, e: e, id: "test-" + strings.ToLower(rand.Text()[:12]), dir: t.TempDir(), locks: filepath.Join(t.TempDir(), "cache"), network: "none"}
	t.Cleanup(func() {
		ctx := context.Background()
		for _, id := range w.left(ctx) {
			_, err := e.API.ImageRemove(ctx, id, client.ImageRemoveOptions{Force: true, PruneChildren: true})
			if err != nil && !strings.Contains(err.Error(), "No such image") && !strings.Contains(err.Error(), "not known") {
				t.Errorf("clean up: %v", err)
			}
		}
	})
	return w
}

// left lists the images of this test: those that carry its label, and those it noted.
func (w *world) left(ctx context.Context) []string {
	ids := slices.Clone(w.images)
	for _, i := range w.labelled(ctx) {
		ids = append(ids, i.ID)
	}
	return ids
}

func (w *world) labelled(ctx context.Context) []imageapi.Summary {
	var list client.ImageListResult
	var err error
	for range 10 { // Podman fails while another test removes an image
		list, err = w.e.API.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("label", "claude-bottle.test="+w.id)})
		if err == nil {
			break
		}
	}
	if err != nil {
		w.t.Error(err)
	}
	return list.Items
}

func (w *world) write(name, text string) {
	w.t.Helper()
	name = filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// dockerfile writes a Dockerfile of these steps on the test's base, all its images labelled, none
// of its steps in an engine's cache.
func (w *world) dockerfile(steps ...string) image.Source {
	w.t.Helper()
	w.write("Dockerfile", "FROM "+base(w.t)+"\nLABEL claude-bottle.test="+w.id+"\nENV TEST="+w.id+"\n"+strings.Join(steps, "\n")+"\n")
	return image.Source{Ref: "claude-bottle:" + w.id, Dockerfile: filepath.Join(w.dir, "Dockerfile")}
}

func (w *world) options() image.Options {
	return image.Options{Locks: w.locks, Network: w.network, Log: &locked{w: &w.log, mu: &w.mu}, Progress: func(ev progress.Event) {
		w.mu.Lock()
		w.lines = append(w.lines, ev.Line)
		f := w.onLine
		w.mu.Unlock()
		if f != nil {
			f(ev.Line)
		}
	}}
}

func (w *world) ensure(ctx context.Context, s image.Source) (image.Image, error) {
	img, err := image.Ensure(ctx, w.e, s, w.options())
	if err == nil && img.Built {
		w.mu.Lock()
		w.images = append(w.images, img.ID)
		w.mu.Unlock()
	}
	return img, err
}

func (w *world) must(s image.Source) image.Image {
	w.t.Helper()
	img, err := w.ensure(w.t.Context(), s)
	if err != nil {
		w.t.Fatalf("%v\nlog:\n%s", err, w.log.String())
	}
	return img
}

// shown reports whether a line with this text came.
func (w *world) shown(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lines {
		if strings.Contains(l, text) {
			return true
		}
	}
	return false
}

// read returns a file of an image; false when it isn't there.
func (w *world) read(img image.Image, name string) (string, bool) {
	w.t.Helper()
	ctx := w.t.Context()
	c, err := w.e.API.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{Image: img.ID, Cmd: []string{"true"}}, HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		if _, err := w.e.API.ContainerRemove(context.WithoutCancel(ctx), c.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			w.t.Error(err)
		}
	}()
	// Its folder, for engines that would follow a link.
	res, err := w.e.API.CopyFromContainer(ctx, c.ID, client.CopyFromContainerOptions{SourcePath: path.Dir(name)})
	if err != nil {
		return "", false
	}
	defer res.Content.Close()
	tr := tar.NewReader(res.Content)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return "", false
		}
		if err != nil {
			w.t.Fatal(err)
		}
		switch {
		case path.Clean(h.Name) != path.Join(path.Base(path.Dir(name)), path.Base(name)):
		case h.Typeflag == tar.TypeSymlink:
			return "-> " + h.Linkname, true
		default:
			text, err := io.ReadAll(tr)
			if err != nil {
				w.t.Fatal(err)
			}
			return string(text), true
		}
	}
}

// hint is what the operator is told to do about err.
func hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

// many writes n small files.
func (w *world) many(n int) {
	w.t.Helper()
	for i := range n {
		w.write(fmt.Sprintf("files/%d/%d.txt", i%17, i), fmt.Sprintf("file %d of %s\n", i, w.id))
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
