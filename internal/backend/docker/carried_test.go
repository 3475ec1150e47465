package docker

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

	"github.com/moby/moby/api/types/mount"

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
	who := identity{agentUID: backend.LastHostID, agentGID: backend.LastHostID + 1}
	if err := owned(&sent, tarOf(t, dir), who); err != nil {
		t.Fatal(err)
	}
	headers, texts := listed(t, &sent)
	for _, name := range []string{"src/", "src/main.go", "README", "link", "empty/"} {
		h := headers[name]
		if h == nil || h.Uid != who.agentUID || h.Gid != who.agentGID || h.Uname+h.Gname != "" {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if len(headers) != 5 || texts["src/main.go"] != "package main" || headers["link"].Linkname != "README" || headers["src/main.go"].Mode != 0o750 || headers["empty/"].Mode != 0o700 {
		t.Errorf("%v, %q", headers, texts)
	}
	if err := owned(io.Discard, tar.NewReader(strings.NewReader("no archive at all, whatever it may be that it is instead of one"+strings.Repeat("x", 512))), who); !errors.Is(err, tar.ErrHeader) {
		t.Errorf("no archive: %v", err)
	}
	full := errors.New("the engine's disk is full")
	if err := owned(failing{full}, tarOf(t, dir), who); !errors.Is(err, full) {
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
		addTree(t.Context(), tw, backend.Mount{Source: tree(t), Target: "/opt/claude-bottle/claude"}),
		addTree(t.Context(), tw, backend.Mount{Source: t.TempDir(), Target: "/opt/nothing"}),
		addTree(t.Context(), tw, backend.Mount{Source: file, Target: "/usr/local/bin/tool"}),
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
	if err := addTree(t.Context(), tar.NewWriter(failing{full}), backend.Mount{Source: tree(t), Target: "/x"}); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
	if err := addTree(t.Context(), tar.NewWriter(io.Discard), backend.Mount{Source: filepath.Join(t.TempDir(), "none"), Target: "/x"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that isn't there: %v", err)
	}
}

// carriedOf are copies of a bottle's folders, without an engine.
func carriedOf(s backend.Spec) *carriedFolders {
	f := &carriedFolders{start: &start{spec: s, cork: os.Args[0], who: identity{agentUID: 5000, agentGID: 5000}}}
	for _, m := range s.Mounts {
		if m.Writable {
			f.volumes = append(f.volumes, carried{Volume: "v" + m.Target, Source: m.Source, Target: m.Target})
		}
	}
	return f
}

func TestNothingThatMustBeReadOnlyIsCarriedToWhereTheAgentWrites(t *testing.T) {
	t.Parallel()
	f := carriedOf(aSpec(t))
	for target, words := range map[string]string{
		"/etc/passwd": "", "/opt/claude-bottle/claude": "", "/home/agents/x": "", "/workspaces": "", "/tmpfiles/x": "", "/home": "",
		"/home/agent/.claude/settings.json": "which the agent may write to", "/workspace/a": "which the agent may write to",
		"/tmp/x": "empty at every start", "/var/tmp/a/b": "empty at every start", "/run/x": "empty at every start", "/dev/shm/x": "empty at every start",
	} {
		if err := f.outside(target); (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestALayerHoldsCorkTheFilesAndWhatIsReadOnly(t *testing.T) {
	t.Parallel()
	s := aSpec(t)
	write(t, filepath.Join(s.Mounts[0].Source, "private"), "the home is no part of it")
	s.Mounts = append(s.Mounts, backend.Mount{Source: tree(t), Target: "/opt/claude-bottle/claude"})
	s.Files = []backend.File{{Path: "/etc/hosts", Mode: 0o600, Data: []byte("127.0.0.1 ours\n")}, {Path: "/etc/ssl/bottle.pem", Mode: 0o444 | fs.ModeSetuid, Data: []byte("cert")}}
	var layer bytes.Buffer
	if err := carriedOf(s).pack(t.Context(), &layer); err != nil {
		t.Fatal(err)
	}
	headers, texts := listed(t, &layer)
	for name, mode := range map[string]int64{
		".claude-bottle/cork": 0o755, "etc/passwd": 0o644, "etc/hosts": 0o600, "etc/ssl/bottle.pem": 0o444, "opt/claude-bottle/claude/src/main.go": 0o750,
	} {
		if h := headers[name]; h == nil || h.Mode != mode || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if texts["etc/hosts"] != "127.0.0.1 ours\n" || !strings.Contains(texts["etc/passwd"], "agent:x:5000:5000:") {
		t.Errorf("hosts %q, passwd %q", texts["etc/hosts"], texts["etc/passwd"])
	}
	for name := range headers {
		if strings.HasPrefix(name, "home") || strings.HasPrefix(name, "workspace") || strings.HasPrefix(name, "/") {
			t.Errorf("the layer holds %s", name)
		}
	}
	for what, change := range map[string]func(*backend.Spec){
		"a file": func(s *backend.Spec) { s.Files = []backend.File{{Path: backend.Home + "/.netrc"}} },
		"a folder": func(s *backend.Spec) {
			s.Mounts = append(s.Mounts, backend.Mount{Source: t.TempDir(), Target: backend.Workspace + "/tools"})
		},
	} {
		s := aSpec(t)
		change(&s)
		if err := carriedOf(s).pack(t.Context(), io.Discard); err == nil {
			t.Errorf("%s was put where the agent writes", what)
		}
	}
}

func TestVolumesAreEmptyOnesOfTheBottle(t *testing.T) {
	t.Parallel()
	s := aSpec(t)
	f := carriedOf(s)
	for i, m := range f.mounts() {
		if m.Type != mount.TypeVolume || m.Source != f.volumes[i].Volume || m.Target != s.Mounts[i].Target || m.ReadOnly ||
			!m.VolumeOptions.NoCopy || m.VolumeOptions.Labels[labelID] != s.ID.String() {
			t.Errorf("%+v", m)
		}
	}
	labels := labelsOf(s.ID)
	if err := f.label(labels); err != nil || !strings.Contains(labels[labelCarried], s.Mounts[0].Source) {
		t.Errorf("%v, %v", labels, err)
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
