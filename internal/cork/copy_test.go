//go:build linux

package cork_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

func archive(t testing.TB, entries ...tar.Header) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Linkname, h.Size = "", int64(len(content))
		} else {
			content = ""
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, content)
	}
	_ = w.Close()
	return &b
}

func file(name, content string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content, Mode: mode, ModTime: time.Unix(1e9, 0)}
}

func dir(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}
}

func link(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}

func TestPutAndGetRoundTrip(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	at := agentDir(t)
	in := []tar.Header{
		dir("shut", 0o555), file("shut/inside", "i", 0o400),
		file("deep/er/file", strings.Repeat("x", 1<<20), 0o644), file("run", "#!/bin/sh\necho ran\n", 0o4755),
		link("abs", "/etc/passwd"), link("rel", "run"), file("empty", "", 0o600), file(strings.Repeat("long/", 40)+"name", "n", 0o644),
	}
	if err := wire.Put(t.Context(), b.Session, at, archive(t, in...)); err != nil {
		t.Fatal(err)
	}
	if got := b.sh(t, at+"/rel"); got.out != "ran\n" {
		t.Errorf("%+v", got)
	}
	fi, err := os.Stat(at + "/run")
	if err != nil || fi.Mode() != 0o755 || fi.ModTime().Unix() != 1e9 {
		t.Errorf("%v, %v", fi, err)
	}
	if agentUID() != 0 && fi.Sys().(*syscall.Stat_t).Uid != uint32(agentUID()) {
		t.Errorf("the file belongs to %d", fi.Sys().(*syscall.Stat_t).Uid)
	}
	// Again, over what is there now.
	if err := wire.Put(t.Context(), b.Session, at, archive(t, file("rel", "no link any more", 0o644), dir("empty2", 0o755))); err != nil {
		t.Fatal(err)
	}
	// What no archive carries is passed over.
	if err := syscall.Mkfifo(at+"/fifo", 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", at+"/sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := fetch(t, b, at)
	want := []string{
		"abs -> /etc/passwd", "deep/", "deep/er/", "deep/er/file 1048576", "empty 0", "empty2/", "rel 16", "run 19", "shut/", "shut/inside 1",
	}
	var short []string
	for _, g := range got {
		if !strings.HasPrefix(g, "long/") {
			short = append(short, g)
		}
	}
	if strings.Join(short, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(short, "\n"), strings.Join(want, "\n"))
	}
	if len(got) != len(want)+41 {
		t.Errorf("%d entries came", len(got))
	}
	if got := fetch(t, b, at+"/deep/er/file"); len(got) != 1 || got[0] != "file 1048576" {
		t.Errorf("%q", got)
	}
}

// fetch gets a path and lists what came.
func fetch(t testing.TB, b *bottle, path string) []string {
	t.Helper()
	r, err := wire.Get(t.Context(), b.Session, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var names []string
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, tr)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeSymlink:
			names = append(names, h.Name+" -> "+h.Linkname)
		case tar.TypeDir:
			names = append(names, h.Name)
		default:
			names = append(names, h.Name+" "+strconv.FormatInt(n, 10))
		}
	}
	sort.Strings(names)
	return names
}

func TestPutRefusesWhatLeadsOut(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	outside := agentDir(t)
	for _, c := range []struct {
		name    string
		entries []tar.Header
	}{
		{"absolute", []tar.Header{file(outside+"/x", "x", 0o644)}},
		{"dots", []tar.Header{file("../x", "x", 0o644)}},
		{"dots inside", []tar.Header{file("a/../../x", "x", 0o644)}},
		{"dots folder", []tar.Header{dir("../../x", 0o755)}},
		{"through an absolute link", []tar.Header{link("out", outside), file("out/x", "x", 0o644)}},
		{"through a relative link", []tar.Header{link("out", "../"+filepath.Base(outside)), file("out/x", "x", 0o644)}},
		{"folder through a link", []tar.Header{link("out", outside), dir("out/x", 0o755)}},
		{"folder mode through a link", []tar.Header{link("out", outside), dir("out", 0o777), file("out/x", "x", 0o644)}},
		{"link through a link", []tar.Header{link("out", outside), link("out/x", "/etc")}},
		{"hard link", []tar.Header{{Typeflag: tar.TypeLink, Name: "x", Linkname: "/etc/passwd"}}},
		{"fifo", []tar.Header{{Typeflag: tar.TypeFifo, Name: "x"}}},
		{"device", []tar.Header{{Typeflag: tar.TypeChar, Name: "x", Devmajor: 1, Devminor: 3}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := agentDir(t)
			err := wire.Put(t.Context(), b.Session, at, archive(t, c.entries...))
			var re *wire.ResetError
			if !errors.As(err, &re) {
				t.Errorf("ended with %v", err)
			}
			if left, _ := os.ReadDir(outside); len(left) != 0 {
				t.Errorf("it reached %v outside", left)
			}
		})
	}
	if err := wire.Put(t.Context(), b.Session, agentDir(t), strings.NewReader(strings.Repeat("no tar ", 1000))); err == nil {
		t.Error("garbage was unpacked")
	}
}

func TestCopiesHaveTheAgentsRightsOnly(t *testing.T) {
	t.Parallel()
	if agentUID() == 0 {
		return // cork and agent are one user on this host: there is no right cork has and the agent has not
	}
	b := uncork(t)
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := wire.Put(t.Context(), b.Session, closed, archive(t, file("x", "x", 0o644))); err == nil {
		t.Error("cork wrote where only root may")
	}
	if err := os.WriteFile(closed+"/secret", []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := wire.Get(t.Context(), b.Session, closed+"/secret"); err == nil {
		all, _ := io.ReadAll(r)
		t.Errorf("cork read %q for the agent", all)
	}
	at := agentDir(t)
	if err := os.WriteFile(at+"/open", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at+"/secret", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := wire.Get(t.Context(), b.Session, at)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a copy with a hole ended with %v", err)
	}
}

func TestGetOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	for _, p := range []string{"/no/such/thing", "relative", "/dev/null"} {
		if _, err := wire.Get(t.Context(), b.Session, p); err == nil {
			t.Errorf("%s was got", p)
		}
	}
	if err := wire.Put(t.Context(), b.Session, "/no/such/folder", archive(t)); err == nil {
		t.Error("unpacked into nowhere")
	}
}

// A source that breaks must not look like an archive that ended.
func TestPutOfABrokenSource(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	at := agentDir(t)
	half := io.MultiReader(io.LimitReader(archive(t, file("a", strings.Repeat("x", 4000), 0o644)), 2000), broken{})
	if err := wire.Put(t.Context(), b.Session, at, half); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%v", err)
	}
	if err := wire.Put(t.Context(), b.Session, at, io.LimitReader(archive(t, file("a", strings.Repeat("x", 4000), 0o644)), 2000)); err == nil {
		t.Error("half an archive passed for one")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, fs.ErrInvalid }
