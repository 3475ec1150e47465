//go:build linux

package meter

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func fill(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTakenBy(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	fill(t, filepath.Join(outside, "big"), 1<<20)
	measure := func() int64 {
		t.Helper()
		n, hidden, err := takenBy(t.Context(), []string{dir, filepath.Join(dir, "missing")})
		if err != nil || hidden {
			t.Fatalf("hidden %v, %v", hidden, err)
		}
		return n
	}
	empty := measure()
	fill(t, filepath.Join(dir, "a"), 100_000)
	one := measure() - empty
	if one < 100_000 || one > 120_000 {
		t.Errorf("100000 bytes take %d", one)
	}
	// Nothing of this takes more room: a second name, links out, a file with a hole.
	for _, err := range []error{
		os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")),
		os.Symlink(outside, filepath.Join(dir, "folder")),
		os.Symlink(filepath.Join(outside, "big"), filepath.Join(dir, "file")),
		os.WriteFile(filepath.Join(dir, "hole"), nil, 0o600),
		os.Truncate(filepath.Join(dir, "hole"), 1<<30),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := measure() - empty; n > one+16<<10 {
		t.Errorf("links and holes take %d", n-one)
	}
}

func TestDiskLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, filepath.Join(dir, "a"), 2<<20)
	if err := Watch(t.Context(), []string{dir}, 1<<20); err == nil || !strings.Contains(err.Error(), "disk limit of 1 MiB") {
		t.Errorf("2 MiB of 1: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Watch(ctx, []string{dir}, 1<<30) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("a meter that was stopped: %v", err)
	}
}

// What the agent locks up isn't lost: it counts as all that the file system has gained since.
func TestLockedFolder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		return // nothing is locked to root; the suite's ordinary user comes here
	}
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o700); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(locked, "a"), 1<<20)
	if err := os.Chmod(locked, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(locked, 0o700) }) // for the folder to be removed
	if n, hidden, err := takenBy(t.Context(), []string{dir}); err != nil || !hidden || n > 1<<19 {
		t.Errorf("taken %d, hidden %v, %v", n, hidden, err)
	}
}
