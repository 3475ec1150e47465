package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// listed opens dir and sums it up with the digests in cache.
func listed(t *testing.T, dir, cache, ignored string) (*tree, string) {
	t.Helper()
	ig, err := parseIgnore(ignored)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := openTree(t.Context(), dir, ig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.close)
	known := openDigests(cache, dir)
	if err := tr.sum(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	if err := known.save(); err != nil {
		t.Fatal(err)
	}
	key := newKey("test")
	key.entries(tr.entries)
	return tr, key.String()
}

func paths(tr *tree) string {
	var names []string
	for _, e := range tr.entries {
		names = append(names, e.path)
	}
	return strings.Join(names, " ")
}

func TestATreeHoldsFilesFoldersAndLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "a/b/kept", "x")
	put(t, dir, "a/c/dropped", "x")
	put(t, dir, "z", "x")
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr, _ := listed(t, dir, t.TempDir(), "a\n!a/b")
	if got, want := paths(tr), "a a/b a/b/kept link z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAKeyStandsForWhatATreeHolds(t *testing.T) {
	t.Parallel()
	dir, cache := t.TempDir(), t.TempDir()
	file := put(t, dir, "d/file", "one")
	put(t, dir, "other", "two")
	if err := os.Symlink("x", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	state := func(name string) string {
		_, key := listed(t, dir, cache, "")
		return key
	}
	first := state("first")
	seen[first] = "first"
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"other bytes", func() error { return os.WriteFile(file, []byte("eno"), 0o644) }},
		{"a bit of its mode", func() error { return os.Chmod(file, 0o755) }},
		{"another name", func() error { return os.Rename(file, file+"2") }},
		{"another link", func() error {
			return errors.Join(os.Remove(filepath.Join(dir, "link")), os.Symlink("y", filepath.Join(dir, "link")))
		}},
		{"an empty folder", func() error { return os.Mkdir(filepath.Join(dir, "empty"), 0o755) }},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		key := state(change.name)
		if before, ok := seen[key]; ok {
			t.Errorf("%s: the key of %q again", change.name, before)
		}
		seen[key] = change.name
	}
	// Times and owners are no content.
	old := state("before")
	if err := os.Chtimes(filepath.Join(dir, "other"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if state("after") != old {
		t.Error("a file's time changed the key")
	}
	if a, b := newKey("k"), newKey("k"); func() bool { a.add("ab", "c"); b.add("a", "bc"); return a.String() == b.String() }() {
		t.Error("two sequences have the same key")
	}
}

func TestFilesSeenBeforeAreNotReadAgain(t *testing.T) {
	t.Parallel()
	dir, cache := t.TempDir(), t.TempDir()
	file := put(t, dir, "file", "one")
	time.Sleep(settled + 100*time.Millisecond)
	_, first := listed(t, dir, cache, "")
	saved, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(saved) != 1 {
		t.Fatalf("cache holds %v, %v", saved, err)
	}
	info, err := os.Stat(saved[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	// A digest that is wrong shows that it is believed: the file was not read.
	text, err := os.ReadFile(saved[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(text), `"sha256":"`) + len(`"sha256":"`)
	text[at] ^= 1
	if err := os.WriteFile(saved[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, key := listed(t, dir, cache, ""); key == first {
		t.Error("the file was read again")
	}
	if err := os.WriteFile(file, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, key := listed(t, dir, cache, ""); key != first {
		t.Error("a file that was written was not read again")
	}
	if err := os.WriteFile(saved[0], []byte("{nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, key := listed(t, dir, cache, ""); key != first {
		t.Error("a damaged cache changed the key")
	}
}

func TestAFileThatChangesWhileItIsSent(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(file string) error{
		"shorter":    func(f string) error { return os.WriteFile(f, []byte("x"), 0o644) },
		"longer":     func(f string) error { return os.WriteFile(f, []byte("one and more"), 0o644) },
		"as long":    func(f string) error { return os.WriteFile(f, []byte("two"), 0o644) },
		"a link now": func(f string) error { return errors.Join(os.Remove(f), os.Symlink("/etc/passwd", f)) },
		"gone":       os.Remove,
	} {
		dir := t.TempDir()
		file := put(t, dir, "file", "one")
		tr, _ := listed(t, dir, t.TempDir(), "")
		if err := change(file); err != nil {
			t.Fatal(err)
		}
		if err := tr.write(t.Context(), tar.NewWriter(io.Discard), "", asItIs); err == nil || !strings.Contains(err.Error(), "file") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestProgramsAreReadableByEverybody(t *testing.T) {
	t.Parallel()
	for in, want := range map[fs.FileMode]fs.FileMode{
		0o600: 0o644, 0o700: 0o755, 0o4755: 0o755, fs.ModeDir | 0o700: fs.ModeDir | 0o755, 0o666: 0o644,
	} {
		if got := readable(in); got != want {
			t.Errorf("%v becomes %v, want %v", in, got, want)
		}
	}
}

func TestALockThatIsWaitedFor(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "k.lock")
	release, err := Lock(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	if _, err := Lock(ctx, name, func() { cancel(stopped) }); !errors.Is(err, stopped) {
		t.Errorf("got %v, want the cause", err)
	}
	// Everybody who waits gets it, one after the other, though the file goes each time.
	held := make(chan func(), 1)
	for range 4 {
		go func() {
			r, err := Lock(t.Context(), name, nil)
			if err != nil {
				t.Error(err)
			}
			held <- r
		}()
	}
	release()
	for range 4 {
		r := <-held
		if again, err := tryLock(name); err != nil || again != nil {
			t.Errorf("held twice (%v)", err)
		}
		r()
	}
}
