package docker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/moby/moby/api/types/mount"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// owner is "uid:gid" of what is at path itself.
func owner(t *testing.T, path string) string {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	sys := st.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", sys.Uid, sys.Gid)
}

// operators makes a folder that belongs to somebody who isn't us, where we may do that.
func operators(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 12345, 23456); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFoldersAreShownWithoutWhatIsMountedInThem(t *testing.T) {
	t.Parallel()
	home, tools, file := t.TempDir(), t.TempDir(), write(t, filepath.Join(t.TempDir(), "config"), "x")
	out, err := show([]backend.Mount{
		{Source: home, Target: backend.Home, Writable: true},
		{Source: tools, Target: "/opt/tools"},
		{Source: file, Target: "/etc/config"},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		source, target string
		readOnly       bool
	}{{home, backend.Home, false}, {tools, "/opt/tools", true}, {file, "/etc/config", true}}
	for i, m := range out.mounts {
		if m.Type != mount.TypeBind || m.Source != want[i].source || m.Target != want[i].target || m.ReadOnly != want[i].readOnly {
			t.Errorf("%+v, want %+v", m, want[i])
		}
		if m.BindOptions == nil || !m.BindOptions.NonRecursive || m.BindOptions.CreateMountpoint || m.BindOptions.Propagation != "" {
			t.Errorf("%s: %+v", m.Target, m.BindOptions)
		}
	}
	if len(out.mounts) != len(want) || len(out.lent) != 0 || out.places() != nil {
		t.Errorf("%+v", out)
	}
	if _, err := show([]backend.Mount{{Source: filepath.Join(home, "missing"), Target: "/x"}}, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that isn't there: %v", err)
	}
}

func TestWhatIsWritableIsShownFromAPlaceOfOursWhenItIsLent(t *testing.T) {
	t.Parallel()
	own, home, tools, file := t.TempDir(), t.TempDir(), t.TempDir(), write(t, filepath.Join(t.TempDir(), "notes"), "x")
	mounts := []backend.Mount{
		{Source: tools, Target: "/opt/tools"},
		{Source: home, Target: backend.Home, Writable: true},
		{Source: file, Target: "/notes", Writable: true},
	}
	out, err := show(mounts, own)
	if err != nil {
		t.Fatal(err)
	}
	places := []string{filepath.Join(own, "lent-1"), filepath.Join(own, "lent-2")}
	if !slices.Equal(out.places(), places) || out.lent[0].source != home || out.lent[1].source != file {
		t.Errorf("lent are %+v", out.lent)
	}
	if got := []string{out.mounts[0].Source, out.mounts[1].Source, out.mounts[2].Source}; !slices.Equal(got, append([]string{tools}, places...)) {
		t.Errorf("shown are %q", got)
	}
	for i, folder := range []bool{true, false} {
		st, err := os.Lstat(places[i])
		if err != nil || st.IsDir() != folder || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("the place %s: %v, %v", places[i], st, err)
		}
	}
	if got := writable(mounts); !slices.Equal(got, []string{home, file}) {
		t.Errorf("writable are %q", got)
	}
	// Where nothing is mounted there is nothing to take back.
	if err := takeBack(append(places, filepath.Join(own, "none"))); err != nil && os.Geteuid() == 0 {
		t.Error(err)
	}
}

func TestPlacesInAnotherMountAreMadeAsItsOwners(t *testing.T) {
	t.Parallel()
	home, deep := operators(t), operators(t)
	tools, file := t.TempDir(), write(t, filepath.Join(t.TempDir(), "settings"), "x")
	mounts := []backend.Mount{
		{Source: file, Target: backend.Home + "/.config/agent/settings"},
		{Source: home, Target: backend.Home, Writable: true},
		{Source: deep, Target: backend.Home + "/projects/deep", Writable: true},
		{Source: tools, Target: backend.Home + "/projects/deep/tools"}, // in the innermost of the two
		{Source: tools, Target: backend.Home + "s/other"},              // in none
	}
	for range 2 { // a bottle's second life finds them there
		if _, err := show(mounts, ""); err != nil {
			t.Fatal(err)
		}
	}
	for path, folder := range map[string]bool{
		filepath.Join(home, ".config"): true, filepath.Join(home, ".config/agent"): true, filepath.Join(home, ".config/agent/settings"): false,
		filepath.Join(home, "projects/deep"): true, filepath.Join(deep, "tools"): true,
	} {
		if st, err := os.Lstat(path); err != nil || st.IsDir() != folder {
			t.Errorf("%s: %v, %v", path, st, err)
		} else if owner(t, path) != owner(t, home) {
			t.Errorf("%s is %s's, the folder it lies in %s's", path, owner(t, path), owner(t, home))
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(home, "projects/deep")); len(entries) > 0 {
		t.Errorf("a place was made where another mount hides it: %v", entries)
	}
}

func TestNoMountGoesThroughWhatAnAgentLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make   func(home, outside string) error
		target string
		file   bool // what is mounted is one
		words  string
	}{
		"a link for a folder":       {func(h, o string) error { return os.Symlink(o, filepath.Join(h, "a")) }, "/a", false, "symbolic link"},
		"a link for a file":         {func(h, o string) error { return os.Symlink(filepath.Join(o, "f"), filepath.Join(h, "a")) }, "/a", true, "symbolic link"},
		"a dangling link":           {func(h, o string) error { return os.Symlink(filepath.Join(o, "new"), filepath.Join(h, "a")) }, "/a", true, "symbolic link"},
		"a link on the way":         {func(h, o string) error { return os.Symlink(o, filepath.Join(h, "a")) }, "/a/b/c", false, "symbolic link"},
		"a link that stays inside":  {func(h, _ string) error { return os.Symlink(".", filepath.Join(h, "a")) }, "/a/b", false, "symbolic link"},
		"a file for a folder":       {func(h, _ string) error { return os.WriteFile(filepath.Join(h, "a"), nil, 0o644) }, "/a", false, "remove it"},
		"a file on the way":         {func(h, _ string) error { return os.WriteFile(filepath.Join(h, "a"), nil, 0o644) }, "/a/b", false, "remove it"},
		"a folder for a file":       {func(h, _ string) error { return os.Mkdir(filepath.Join(h, "a"), 0o755) }, "/a", true, "remove it"},
		"a pipe for a folder":       {func(h, _ string) error { return syscall.Mkfifo(filepath.Join(h, "a"), 0o644) }, "/a", false, "remove it"},
		"a folder below for a file": {func(h, _ string) error { return os.MkdirAll(filepath.Join(h, "a/b"), 0o755) }, "/a/b", true, "a/b in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, outside, source := t.TempDir(), t.TempDir(), t.TempDir()
			write(t, filepath.Join(outside, "f"), "theirs")
			if c.file {
				source = write(t, filepath.Join(source, "f"), "x")
			}
			if err := c.make(home, outside); err != nil {
				t.Fatal(err)
			}
			_, err := show([]backend.Mount{{Source: home, Target: backend.Home, Writable: true}, {Source: source, Target: backend.Home + c.target}}, "")
			if err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), home) {
				t.Errorf("%v", err)
			}
			entries, err := os.ReadDir(outside)
			if err != nil || len(entries) != 1 {
				t.Errorf("outside there is %v, %v", entries, err)
			}
			holds(t, filepath.Join(outside, "f"), "theirs")
		})
	}
}

func TestNoPlaceIsMadeInWhatIsShownReadOnly(t *testing.T) {
	t.Parallel()
	tools, source := t.TempDir(), t.TempDir()
	mounts := []backend.Mount{{Source: tools, Target: "/opt/tools"}, {Source: source, Target: "/opt/tools/a/b"}}
	_, err := show(mounts, "")
	if err == nil || !strings.Contains(err.Error(), "read-only") || !strings.Contains(err.Error(), "/opt/tools/a/b") {
		t.Errorf("%v", err)
	}
	if entries, _ := os.ReadDir(tools); len(entries) > 0 {
		t.Errorf("there is %v", entries)
	}
	if err := os.MkdirAll(filepath.Join(tools, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := show(mounts, ""); err != nil {
		t.Errorf("with a place that is there: %v", err)
	}
	file := write(t, filepath.Join(t.TempDir(), "f"), "x")
	if _, err := show([]backend.Mount{{Source: file, Target: "/f", Writable: true}, {Source: source, Target: "/f/a"}}, ""); err == nil {
		t.Error("a place was made in a file")
	}
}

// Our folder shows the operator's in places: removing it must not be removing those.
func TestRemovingOurFolderLeavesWhatItShows(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts")
	}
	own, work := filepath.Join(t.TempDir(), "docker"), t.TempDir()
	write(t, filepath.Join(work, "thesis"), "years of work")
	write(t, filepath.Join(own, "files/0"), "ours")
	at := filepath.Join(own, "lent-0")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(work, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) }) // where the test failed
	if err := removeOwn(own); err != nil {
		t.Error(err)
	}
	holds(t, filepath.Join(work, "thesis"), "years of work")
	if _, err := os.Lstat(own); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("our folder is still there: %v", err)
	}
	if err := removeOwn(own); err != nil {
		t.Errorf("the second time: %v", err)
	}
}
