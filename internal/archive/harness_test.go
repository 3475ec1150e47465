package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// then is when everything in the archives here was changed.
var then = time.Date(2024, 2, 29, 12, 30, 15, 0, time.UTC)

func file(name, text string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text)), ModTime: then}, text}
}

func dir(name string, mode int64) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, ModTime: then}, ""}
}

func symlink(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, ""}
}

func hardlink(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, Mode: 0o644}, ""}
}

func special(kind byte, name string) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Mode: 0o666, Devmajor: 1, Devminor: 3}, ""}
}

// entry is one of an archive.
type entry struct {
	tar.Header
	text string
}

func (e entry) withMode(mode int64) entry { e.Mode = mode; return e }

// pack writes an archive as anybody may, without a look at what is in it.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// yard is a folder to unpack into, beside one that nothing may happen to.
type yard struct {
	t               testing.TB
	inside, outside string
	before          string
}

func newYard(t testing.TB) *yard {
	t.Helper()
	dir := t.TempDir()
	y := &yard{t: t, inside: filepath.Join(dir, "inside"), outside: filepath.Join(dir, "outside")}
	err := errors.Join(
		os.Mkdir(y.inside, 0o755), os.Mkdir(y.outside, 0o750),
		os.Mkdir(filepath.Join(y.outside, "empty"), 0o700),
		os.WriteFile(filepath.Join(y.outside, "secret"), []byte("theirs"), 0o600),
		os.Symlink("secret", filepath.Join(y.outside, "link")),
	)
	if err != nil {
		t.Fatal(err)
	}
	y.before = y.around()
	return y
}

// around describes everything beside the folder: names, modes, times and contents.
func (y *yard) around() string {
	y.t.Helper()
	var b strings.Builder
	top := filepath.Dir(y.inside)
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == y.inside {
			return fs.SkipDir
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(&b, "%s %v %v\n", p, st.Mode(), st.ModTime())
		if st.Mode().IsRegular() {
			text, err := os.ReadFile(p)
			_, _ = fmt.Fprintf(&b, "%q\n", text)
			return err
		}
		return nil
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return b.String()
}

// unharmed fails when anything beside the folder is not as it was, or is to be had in it.
func (y *yard) unharmed() {
	y.t.Helper()
	if now := y.around(); now != y.before {
		y.t.Errorf("outside the folder there was\n%sand now is\n%s", y.before, now)
	}
	secret, err := os.Lstat(filepath.Join(y.outside, "secret"))
	if err != nil {
		y.t.Fatal(err)
	}
	_ = filepath.WalkDir(y.inside, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a mode of the archive's forbids to look
		}
		if st, err := d.Info(); err == nil && os.SameFile(st, secret) {
			y.t.Errorf("%s is the file outside", p)
		}
		return nil
	})
}

// unpack unpacks into the folder, and looks around it afterwards.
func (y *yard) unpack(archive []byte, o Options) (int, error) {
	y.t.Helper()
	defer y.unharmed()
	return Unpack(bytes.NewReader(archive), y.inside, o)
}

func (y *yard) lstat(name string) fs.FileInfo {
	y.t.Helper()
	st, err := os.Lstat(filepath.Join(y.inside, name))
	if err != nil {
		y.t.Fatal(err)
	}
	return st
}

// holds fails when the file is not there with that text.
func (y *yard) holds(name, text string) {
	y.t.Helper()
	if got, err := os.ReadFile(filepath.Join(y.inside, name)); err != nil || string(got) != text {
		y.t.Errorf("%s holds %q, %v; want %q", name, got, err, text)
	}
}

// names are all that is in the folder.
func (y *yard) names() []string {
	y.t.Helper()
	var out []string
	err := filepath.WalkDir(y.inside, func(p string, _ fs.DirEntry, err error) error {
		if p != y.inside {
			out = append(out, strings.TrimPrefix(p, y.inside+"/"))
		}
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return out
}
