package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestTarCarriesFilesFoldersAndLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("a.txt", "alpha", 0o644)
	write("bin/run", "#!/bin/sh\n", 0o755)
	write(".git/HEAD", "ref: refs/heads/main\n", 0o644)
	for link, to := range map[string]string{"in": "a.txt", "out": "/etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}

	var buf bytes.Buffer
	c, err := Tar(context.Background(), dir, &buf, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Files != 5 || len(c.Skipped) != 1 || c.Skipped[0] != "pipe" {
		t.Errorf("copied %+v; want 5 files and only the pipe left out", c)
	}
	got := map[string]string{}
	for tr := tar.NewReader(&buf); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h.Linkname + string(data)
	}
	want := map[string]string{"a.txt": "alpha", "bin/": "", "bin/run": "#!/bin/sh\n", ".git/": "",
		".git/HEAD": "ref: refs/heads/main\n", "in": "a.txt", "out": "/etc/passwd"}
	if len(got) != len(want) {
		t.Errorf("entries %v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %q, want %q (a link must travel as a link)", k, got[k], v)
		}
	}
}

func TestTarStopsWhenCancelled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	why := errors.New("stopped by the operator")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	if _, err := Tar(ctx, dir, io.Discard, nil); !errors.Is(err, why) {
		t.Errorf("error %v, want the cause", err)
	}
}
