package docker

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

func newID(t testing.TB) bottle.ID {
	t.Helper()
	name, err := bottle.ParseName("docker")
	if err != nil {
		t.Fatal(err)
	}
	id, err := bottle.NewID(name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// aSpec is a bottle with a home and a workspace, and every limit.
func aSpec(t testing.TB) backend.Spec {
	t.Helper()
	return backend.Spec{
		ID: newID(t), Dir: t.TempDir(), Hostname: "bottle",
		Mounts: []backend.Mount{
			{Source: t.TempDir(), Target: backend.Home, Writable: true},
			{Source: t.TempDir(), Target: backend.Workspace, Writable: true},
		},
		Limits: backend.Limits{Memory: 1 << 30, PIDs: 200, CPUs: 1.5, Disk: 1 << 30, Tmp: 64 << 20},
		Cache:  t.TempDir(),
	}
}

// write makes a file with the folders above it.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// holds fails when the file is not there with that text.
func holds(t testing.TB, path, text string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Errorf("%s holds %q, %v; want %q", path, got, err, text)
	}
}
