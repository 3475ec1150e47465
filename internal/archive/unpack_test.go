package archive

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
)

func TestFilesFoldersAndLinksArrive(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	passed, err := y.unpack(pack(t,
		dir("./", 0o700),
		dir("src/", 0o750),
		file("src/main.go", "package main").withMode(0o755),
		symlink("src/up", "../../outside/secret"), // its content is the archive's own affair
		hardlink("src/same.go", "src/main.go"),
		file("made/on/the/way", "x").withMode(0o600),
		file("src/empty", ""),
	), Options{})
	if err != nil || passed != 0 {
		t.Fatalf("passed over %d, %v", passed, err)
	}
	y.holds("src/main.go", "package main")
	y.holds("src/same.go", "package main")
	y.holds("made/on/the/way", "x")
	y.holds("src/empty", "")
	for name, mode := range map[string]fs.FileMode{
		"src": fs.ModeDir | 0o750, "src/main.go": 0o755, "src/same.go": 0o755, "made/on/the/way": 0o600, "made/on": fs.ModeDir | 0o755,
	} {
		if got := y.lstat(name).Mode(); got != mode {
			t.Errorf("%s has the mode %v, want %v", name, got, mode)
		}
	}
	if !os.SameFile(y.lstat("src/main.go"), y.lstat("src/same.go")) {
		t.Error("a hard link became a copy")
	}
	if to, err := os.Readlink(filepath.Join(y.inside, "src/up")); to != "../../outside/secret" || err != nil {
		t.Errorf("the link says %q, %v", to, err)
	}
	if got := y.lstat("src/main.go").ModTime(); !got.Equal(then) {
		t.Errorf("the file is from %v, want %v", got, then)
	}
	if got := y.lstat(".").Mode().Perm(); got != 0o755 {
		t.Errorf("the folder itself has the mode %v now", got)
	}
}

func TestModesCarryNoRights(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	if _, err := y.unpack(pack(t, dir("d", 0o7777), file("f", "x").withMode(0o6755), file("d/g", "x").withMode(0o1777)), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d", "f", "d/g"} {
		if mode := y.lstat(name).Mode(); mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
			t.Errorf("%s has the mode %v", name, mode)
		}
	}
}

func TestFoldersThatForbidItAreFilledAllTheSame(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	// Deeper ones first or last: who makes an archive chooses.
	closed := map[string]fs.FileMode{"a": 0, "a/b": 0o500, "z": 0, "z/y": 0o100}
	if _, err := y.unpack(pack(t, dir("a", 0), dir("a/b", 0o500), file("a/b/c", "x"), dir("z/y", 0o100), dir("z", 0)), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "a/b", "z", "z/y"} {
		if mode := y.lstat(name).Mode().Perm(); mode != closed[name] {
			t.Errorf("%s has the mode %v", name, mode)
		}
		// So that we see what is in it, and that it can be removed.
		if err := os.Chmod(filepath.Join(y.inside, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	y.holds("a/b/c", "x")
}

func TestTheLastOfTwoEntriesCounts(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	_, err := y.unpack(pack(t,
		file("f", "first, and longer"), hardlink("other", "f"), file("f", "second"),
		symlink("l", "other"), file("l", "a file now"),
		dir("d", 0o700), file("d", "was a folder"),
		file("g", "was a file"), symlink("g", "f"),
		dir("e", 0o700), dir("e", 0o710),
	), Options{})
	if err != nil {
		t.Fatal(err)
	}
	y.holds("f", "second")
	y.holds("other", "first, and longer") // a name is replaced, never written through
	y.holds("l", "a file now")
	y.holds("d", "was a folder")
	y.holds("g", "second")
	if mode := y.lstat("e").Mode().Perm(); mode != 0o710 {
		t.Errorf("the folder has the mode %v", mode)
	}
}

func TestNothingLeavesTheFolder(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string][]entry{
		"a name that climbs":               {file("../outside/new", "x")},
		"a name that climbs later":         {file("a/../../outside/new", "x")},
		"the folder above":                 {dir("..", 0o777)},
		"an absolute name":                 {file("/etc/claude-bottle-test", "x")},
		"an absolute folder":               {dir("/tmp/", 0o777)},
		"no name":                          {dir("/", 0o777)},
		"a file through a link":            {symlink("l", "../outside"), file("l/new", "x")},
		"a file through an absolute link":  {symlink("l", "/tmp"), file("l/claude-bottle-test", "x")},
		"a file through two links":         {dir("a", 0o755), symlink("a/up", ".."), symlink("l", "a/up/../outside"), file("l/new", "x")},
		"a folder over a link":             {symlink("l", "../outside"), dir("l", 0o777)},
		"a folder through a link":          {symlink("l", "../outside"), dir("l/new/deep", 0o777)},
		"a folder through a dangling link": {symlink("l", "../outside/new"), dir("l", 0o777)},
		"a folder that is a link by then":  {dir("d", 0o777), symlink("d", "../outside")},
		"a link through a link":            {symlink("l", "../outside"), symlink("l/new", "x")},
		"a link in place of one's content": {symlink("l", "../outside"), symlink("l/secret", "x")},
		"a hard link to outside":           {hardlink("h", "../outside/secret")},
		"a hard link to the whole system":  {hardlink("h", "/etc/passwd")},
		"a hard link through a link":       {symlink("l", "../outside"), hardlink("h", "l/secret")},
		"a hard link into a link":          {file("f", "x"), symlink("l", "../outside"), hardlink("l/new", "f")},
		"the folder's place as a file":     {file(".", "x")},
		"the folder's place as a link":     {symlink("./", "../outside")},
		"a folder with something in it":    {file("d/f", "x"), file("d", "x")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t)
			if _, err := y.unpack(pack(t, entries...), Options{}); err == nil {
				t.Errorf("it was taken; there is %q", y.names())
			}
			for _, made := range []string{"/tmp/claude-bottle-test", "/etc/claude-bottle-test"} {
				if _, err := os.Lstat(made); err == nil {
					t.Errorf("%s was made", made)
				}
			}
		})
	}
}

func TestAHardLinkToASymbolicOneLeadsNowhereNew(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	if _, err := y.unpack(pack(t, symlink("l", "../outside/secret"), hardlink("h", "l")), Options{}); err != nil {
		t.Fatal(err)
	}
	if mode := y.lstat("h").Mode(); mode.Type() != fs.ModeSymlink {
		t.Errorf("the link to a link is %v", mode)
	}
}

func TestWhatIsNoFileIsRefusedOrPassedOver(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]byte{
		"a device of characters": tar.TypeChar, "a device of blocks": tar.TypeBlock, "a pipe": tar.TypeFifo, "something unheard of": 'Q',
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			archive := pack(t, file("before", "b"), special(kind, "dir/thing"), special(kind, "thing"), file("behind", "x"))
			y := newYard(t)
			if _, err := y.unpack(archive, Options{}); err == nil || !strings.Contains(err.Error(), "dir/thing") || !strings.Contains(err.Error(), "of type") {
				t.Errorf("refused with %v", err)
			}
			y = newYard(t)
			passed, err := y.unpack(archive, Options{PassOver: true})
			if passed != 2 || err != nil {
				t.Errorf("passed over %d, %v; want 2", passed, err)
			}
			y.holds("before", "b")
			y.holds("behind", "x")
			if slices.Contains(y.names(), "thing") {
				t.Error("it was made")
			}
			// Being passed over is no way out either.
			if _, err := newYard(t).unpack(pack(t, special(kind, "../outside/thing")), Options{PassOver: true}); err == nil {
				t.Error("a name that climbs was passed over")
			}
		})
	}
}

// As tar and Docker name things when they are told to take what lies in a folder.
func TestTheFolderItselfKeepsItsMode(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	if _, err := y.unpack(pack(t, dir("./", 0o700), dir("./d/", 0o750), file("./d/f", "x"), hardlink("./h", "./d/f"), dir(".", 0)), Options{}); err != nil {
		t.Fatal(err)
	}
	if got, want := y.names(), []string{"d", "d/f", "h"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	if mode := y.lstat(".").Mode().Perm(); mode != 0o755 {
		t.Errorf("the folder itself has the mode %v now", mode)
	}
}

// claim is an archive's beginning: a file that says it has size bytes, of which text follow.
func claim(t *testing.T, size int64, text string, before ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	if len(before) > 0 {
		b.Write(bytes.TrimRight(pack(t, before...), "\x00"))
		b.Write(make([]byte, -b.Len()&511))
	}
	h := tar.Header{Typeflag: tar.TypeReg, Name: "big", Mode: 0o600, Size: size}
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	b.WriteString(text)
	return b.Bytes()
}

func TestMoreBytesThanAllowedAreRefusedByWhatTheyClaim(t *testing.T) {
	t.Parallel()
	small := file("small", strings.Repeat("x", 512))
	for _, c := range []struct {
		name    string
		archive []byte
		bound   bool // it is the bound that refuses, and not the archive's end
	}{
		{"one file", claim(t, MaxBytes+1, "x"), true},
		{"all there may be, in one", claim(t, MaxBytes, "x"), false},
		{"two together", claim(t, MaxBytes-511, "x", small), true},
		{"all there may be, in two", claim(t, MaxBytes-512, "x", small), false},
		{"the greatest number", claim(t, 1<<63-1, "x"), true},
		{"a sum that overflows", claim(t, 1<<63-1, "x", small), true},
	} {
		y := newYard(t)
		_, err := y.unpack(c.archive, Options{})
		if err == nil || strings.Contains(err.Error(), "more than") != c.bound || !c.bound && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", c.name, err)
		}
		if slices.Contains(y.names(), "big") == c.bound {
			t.Errorf("%s: there is %q", c.name, y.names())
		}
	}
}

func TestMoreEntriesThanAllowedAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		left  int // of what is allowed
		taken bool
		entry entry
	}{
		"the last one":                       {1, true, file("f", "")},
		"one too many":                       {0, false, file("f", "")},
		"a comment":                          {0, false, entry{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "c"}, ""}},
		"something passed over":              {0, false, special(tar.TypeFifo, "p")},
		"folders on the way, the last ones":  {4, true, file("a/b/c/f", "")},
		"folders on the way, one too many":   {3, false, file("a/b/c/f", "")},
		"folders on the way, many at once":   {1000, false, file(strings.Repeat("d/", 2000)+"f", "")},
		"folders on the way that are there":  {1, true, file("there/already/f", "")},
		"a folder below many, one too many":  {2, false, dir("a/b/c/", 0o755)},
		"a folder below many, the last ones": {3, true, dir("a/b/c/", 0o755)},
	} {
		y := newYard(t)
		if err := os.MkdirAll(filepath.Join(y.inside, "there/already"), 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(y.inside)
		if err != nil {
			t.Fatal(err)
		}
		u := &unpacker{root: root, options: Options{PassOver: true}, entries: MaxEntries - c.left}
		err = u.entry(&c.entry.Header, strings.NewReader(c.entry.text))
		if (err == nil) != c.taken || err != nil && !errors.Is(err, errTooMany) {
			t.Errorf("%s: %v", name, err)
		}
		_ = root.Close() // only read
	}
}

func TestAnArchiveThatEndsTooSoonIsAnError(t *testing.T) {
	t.Parallel()
	whole := pack(t, file("f", strings.Repeat("x", 1000)), file("g", "y"))
	for _, n := range []int{1, 511, 513, 1000, 512 + 999, 512 + 1024 + 100} {
		if _, err := newYard(t).unpack(whole[:n], Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d of %d bytes: %v", n, len(whole), err)
		}
	}
	broken := bytes.Clone(whole)
	broken[5]++ // a name, which the checksum knows better
	if _, err := newYard(t).unpack(broken, Options{}); !errors.Is(err, tar.ErrHeader) {
		t.Errorf("a header that isn't what was written: %v", err)
	}
}

func TestPaddingBehindTheEndIsReadAndMeansNothing(t *testing.T) {
	t.Parallel()
	padded := append(pack(t, file("f", "x")), make([]byte, 10<<10)...)
	for name, more := range map[string][]byte{"zeros": nil, "another archive": pack(t, file("../outside/new", "x"), file("hidden", "x"))} {
		y := newYard(t)
		r := bytes.NewReader(slices.Concat(padded, more))
		if _, err := Unpack(r, y.inside, Options{}); err != nil || r.Len() > 0 {
			t.Errorf("%s: %v, and %d bytes are unread: who sends them waits", name, err, r.Len())
		}
		if got := y.names(); !slices.Equal(got, []string{"f"}) {
			t.Errorf("%s: there is %q", name, got)
		}
		y.unharmed()
	}
}

func TestAReaderThatFailsIsHeard(t *testing.T) {
	t.Parallel()
	broken := errors.New("the wire was cut")
	whole := pack(t, file("f", "x"))
	for _, n := range []int{0, 512, 600, len(whole)} {
		r := io.MultiReader(bytes.NewReader(whole[:n]), failing{broken})
		if _, err := Unpack(r, newYard(t).inside, Options{}); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestTheFolderMustBeThereAndNamedInFull(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", ".", "relative", filepath.Join(t.TempDir(), "missing"), os.DevNull} {
		if _, err := Unpack(bytes.NewReader(pack(t, file("f", "x"))), dir, Options{}); err == nil {
			t.Errorf("%q was taken", dir)
		}
	}
}
