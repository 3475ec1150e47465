package carry

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/workspace"
)

// tree makes a folder as a project has one.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "src/main.go"), "package main")
	write(t, filepath.Join(dir, "README"), strings.Repeat("words ", 1000))
	if err := errors.Join(
		os.Symlink("README", filepath.Join(dir, "link")), os.Chmod(filepath.Join(dir, "src/main.go"), 0o750), os.Mkdir(filepath.Join(dir, "empty"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

func tarOf(t *testing.T, dir string) *tar.Reader {
	t.Helper()
	var b bytes.Buffer
	if _, err := workspace.Tar(t.Context(), dir, &b, nil); err != nil {
		t.Fatal(err)
	}
	return tar.NewReader(&b)
}

// listed are an archive's entries by name, and what files hold.
func listed(t *testing.T, r io.Reader) (map[string]*tar.Header, map[string]string) {
	t.Helper()
	headers, texts := map[string]*tar.Header{}, map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return headers, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		headers[h.Name], texts[h.Name] = h, string(text)
	}
}

func TestWhatIsCarriedInIsTheAgents(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "README"), 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	var sent bytes.Buffer
	// Ids as large as ours don't fit into a tar's oldest fields.
	uid, gid := backend.LastHostID, backend.LastHostID+1
	if err := Owned(&sent, tarOf(t, dir), uid, gid); err != nil {
		t.Fatal(err)
	}
	headers, texts := listed(t, &sent)
	for _, name := range []string{"src/", "src/main.go", "README", "link", "empty/"} {
		h := headers[name]
		if h == nil || h.Uid != uid || h.Gid != gid || h.Uname+h.Gname != "" {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if len(headers) != 5 || texts["src/main.go"] != "package main" || headers["link"].Linkname != "README" || headers["src/main.go"].Mode != 0o750 || headers["empty/"].Mode != 0o700 {
		t.Errorf("%v, %q", headers, texts)
	}
	if err := Owned(io.Discard, tar.NewReader(strings.NewReader("no archive at all, whatever it may be that it is instead of one"+strings.Repeat("x", 512))), uid, gid); !errors.Is(err, tar.ErrHeader) {
		t.Errorf("no archive: %v", err)
	}
	full := errors.New("the engine's disk is full")
	if err := Owned(failing{full}, tarOf(t, dir), uid, gid); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestAFolderIsGraftedAtItsPlaceAsRoots(t *testing.T) {
	t.Parallel()
	var sent bytes.Buffer
	tw := tar.NewWriter(&sent)
	file := write(t, filepath.Join(t.TempDir(), "tool"), "#!/bin/sh")
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		Tree(t.Context(), tw, tree(t), "/opt/claude-bottle/claude"),
		Tree(t.Context(), tw, t.TempDir(), "/opt/nothing"),
		Tree(t.Context(), tw, file, "/usr/local/bin/tool"),
		tw.Close(),
	); err != nil {
		t.Fatal(err)
	}
	headers, texts := listed(t, &sent)
	at := "opt/claude-bottle/claude/"
	var names []string
	for name, h := range headers {
		names = append(names, name)
		if h.Uid != 0 || h.Gid != 0 || h.Mode&0o7000 != 0 {
			t.Errorf("%s: %+v", name, h)
		}
	}
	slices.Sort(names)
	if want := []string{at, at + "README", at + "empty/", at + "link", at + "src/", at + "src/main.go", "opt/nothing/", "usr/local/bin/tool"}; !slices.Equal(names, want) {
		t.Errorf("there is %q, want %q", names, want)
	}
	if texts[at+"src/main.go"] != "package main" || texts["usr/local/bin/tool"] != "#!/bin/sh" || headers["usr/local/bin/tool"].Mode != 0o755 || headers[at+"link"].Linkname != "README" {
		t.Errorf("%q", texts)
	}
	full := errors.New("the engine's disk is full")
	if err := Tree(t.Context(), tar.NewWriter(failing{full}), tree(t), "/x"); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
	if err := Tree(t.Context(), tar.NewWriter(io.Discard), filepath.Join(t.TempDir(), "none"), "/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that isn't there: %v", err)
	}
}

// fill makes files in a folder.
func fill(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		write(t, filepath.Join(dir, name), name)
	}
}

// below are all names in a folder.
func below(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if p != dir {
			out = append(out, strings.TrimPrefix(p, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatComesHomeReplacesWhatWasThere(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir, fresh, outside := filepath.Join(top, "work"), filepath.Join(top, "fresh"), filepath.Join(top, "outside")
	fill(t, dir, "old", "both", "folder/old", "now a file/x", ".git/config")
	fill(t, fresh, "new", "both", "folder/new", "now a file")
	fill(t, outside, "theirs")
	if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "out")), os.Symlink(outside, filepath.Join(fresh, "out2"))); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := replace(dir, fresh); err != nil {
		t.Fatal(err)
	}
	if got, want := below(t, dir), []string{"both", "folder", "folder/new", "new", "now a file", "out2"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	if after, err := os.Stat(dir); err != nil || !os.SameFile(before, after) {
		t.Errorf("the folder itself is another: %v", err)
	}
	holds(t, filepath.Join(outside, "theirs"), "theirs")
	if left := below(t, fresh); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// As Go's module cache is made, of folders nobody may write in. Root may, so this claims something
// of everybody else.
func TestFoldersThatForbidItComeHomeAndGo(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir, fresh := filepath.Join(top, "work"), filepath.Join(top, "fresh")
	fill(t, dir, "mod/a@v1/x", "closed/deep/y")
	fill(t, fresh, "mod/a@v2/x", "other/z")
	modes := map[string]fs.FileMode{}
	for _, c := range []struct {
		name string
		mode fs.FileMode
	}{{"work/mod/a@v1", 0o555}, {"work/mod", 0o555}, {"work/closed/deep", 0}, {"work/closed", 0o300}, {"fresh/mod/a@v2", 0o555}, {"fresh/mod", 0o555}, {"fresh/other", 0o500}} {
		if err := os.Chmod(filepath.Join(top, c.name), c.mode); err != nil {
			t.Fatal(err)
		}
		modes[c.name] = c.mode
	}
	t.Cleanup(func() { _ = state.RemoveTree(dir) }) // the folder's own removal may not
	if err := replace(dir, fresh); err != nil {
		t.Fatal(err)
	}
	if got, want := below(t, dir), []string{"mod", "mod/a@v2", "mod/a@v2/x", "other", "other/z"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	for _, name := range []string{"mod/a@v2", "mod", "other"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != modes["fresh/"+name] {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	if err := state.RemoveTree(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
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
