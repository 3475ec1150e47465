package image_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/image"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestSquash(t *testing.T) {
	t.Parallel()
	source := written(t, "ours", []byte("ours"))
	ours := func(name string) image.Extra { return image.Extra{Path: name, Mode: 0o755, Source: source} }
	for _, tc := range []struct {
		name   string
		layers [][]item
		extra  []image.Extra
		want   string // the listing, a line each
	}{
		{"an upper file replaces, and its folder's attributes are the last given", [][]item{
			{dir("a").with(0o700, 1, 2), file("a/x", "old").with(0o600, 3, 4), file("a/y", "kept")},
			{dir("a").with(0o1777, 5, 6), file("a/x", "new").with(0o4755, 7, 8)},
		}, nil, `
			a/ dir 1777 5:6
			a/x file 4755 7:8 "new"
			a/y file 0644 0:0 "kept"`},
		{"a whiteout takes a file, a folder and a link away, and no more", [][]item{
			{dir("d"), file("d/x", "1"), dir("d/e"), file("d/e/y", "2"), symlink("d/l", "x"), file("d/xx", "3")},
			{dir("d"), gone("d/x"), gone("d/e"), gone("d/l"), gone("d/absent"), gone("absent/too")},
		}, nil, `
			d/ dir 0755 0:0
			d/xx file 0644 0:0 "3"`},
		{"a whiteout hides the layers below alone, wherever it stands in its own", [][]item{
			{dir("d"), file("d/old", "1"), file("f", "old")},
			{dir("d").with(0o711, 0, 0), file("d/new", "2"), gone("d"), gone("f"), file("f", "new")},
			{file("top", "3")},
		}, nil, `
			d/ dir 0711 0:0
			d/new file 0644 0:0 "2"
			f file 0644 0:0 "new"
			top file 0644 0:0 "3"`},
		{"a folder that was hidden, and is there again undescribed, is a plain one", [][]item{
			{dir("d").with(0o700, 9, 9), file("d/old", "1")},
			{file("d/new", "2"), gone("d")},
		}, nil, `
			d/ dir 0755 0:0
			d/new file 0644 0:0 "2"`},
		{"an opaque folder hides all that was in it, and nothing beside it", [][]item{
			{dir("d"), file("d/old", "1"), dir("d/deep"), file("d/deep/old", "1"), file("e", "1")},
			{dir("d"), file("d/new", "2"), dir("d/deep"), file("d/deep/new", "2"), file("d/.wh..wh..opq", "")},
		}, nil, `
			d/ dir 0755 0:0
			d/deep/ dir 0755 0:0
			d/deep/new file 0644 0:0 "2"
			d/new file 0644 0:0 "2"
			e file 0644 0:0 "1"`},
		{"what a file system kept for itself is no content", [][]item{
			{dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file(".wh..wh.aufs", ""), file("f", "1")},
		}, nil, `
			f file 0644 0:0 "1"`},
		{"hard links outlive the name they were made by", [][]item{
			{file("a", "shared").with(0o600, 1, 1), hard("b", "a"), hard("c", "b"), file("d", "one"), hard("e", "d")},
			{gone("a"), file("d", "another")},
		}, nil, `
			b file 0600 1:1 "shared"
			c hard 0600 1:1 -> b
			d file 0644 0:0 "another"
			e file 0644 0:0 "one"`},
		{"a hard link to a layer below", [][]item{
			{dir("a"), file("a/x", "low")},
			{dir("b"), hard("b/y", "./a/x")},
			{gone("a")},
		}, nil, `
			b/ dir 0755 0:0
			b/y file 0644 0:0 "low"`},
		{"a file where a folder was, and a folder where a file or a link was", [][]item{
			{dir("a"), file("a/x", "1"), file("b", "2"), symlink("lib", "usr/lib"), dir("usr"), dir("usr/lib"), file("usr/lib/y", "3")},
			{file("a", "file"), dir("b"), file("b/x", "4"), file("lib/z", "5")},
		}, nil, `
			a file 0644 0:0 "file"
			b/ dir 0755 0:0
			b/x file 0644 0:0 "4"
			lib/ dir 0755 0:0
			lib/z file 0644 0:0 "5"
			usr/ dir 0755 0:0
			usr/lib/ dir 0755 0:0
			usr/lib/y file 0644 0:0 "3"`},
		{"in one layer the last counts", [][]item{
			{file("a", "1"), file("a", "2"), hard("b", "a"), file("a", "3"), file("a", "4")},
		}, nil, `
			a file 0644 0:0 "4"
			b file 0644 0:0 "2"`},
		{"names are as they would be in a root folder", [][]item{
			{dir(".").with(0o711, 0, 0), file("./a", "1"), file("/b", "2"), file("../../c", "3"), symlink("up", "../../../etc/passwd"), symlink("abs", "/a"), symlink("gone", "nowhere")},
		}, nil, `
			./ dir 0711 0:0
			a file 0644 0:0 "1"
			abs symlink 0777 0:0 -> /a
			b file 0644 0:0 "2"
			c file 0644 0:0 "3"
			gone symlink 0777 0:0 -> nowhere
			up symlink 0777 0:0 -> ../../../etc/passwd`},
		{"devices and pipes stay", [][]item{
			{{h: tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}}, {h: tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o600}}},
		}, nil, `
			null char 0666 0:0 1,3
			pipe fifo 0600 0:0`},
		{"extra files replace what is there, and make their folders", [][]item{
			{dir("sbin").with(0o700, 7, 7), file("sbin/init", "theirs").with(0o4755, 1, 1), hard("sbin/other", "sbin/init"), dir("opt"), dir("opt/us"), file("opt/us/x", "theirs"), file("file", "theirs")},
		}, []image.Extra{ours("/sbin/init"), ours("/opt/us"), ours("/new/deep/x"), ours("/file/x")}, `
			file/ dir 0755 0:0
			file/x file 0755 0:0 "ours"
			new/ dir 0755 0:0
			new/deep/ dir 0755 0:0
			new/deep/x file 0755 0:0 "ours"
			opt/ dir 0755 0:0
			opt/us file 0755 0:0 "ours"
			sbin/ dir 0700 7:7
			sbin/init file 0755 0:0 "ours"
			sbin/other file 4755 1:1 "theirs"`},
		{"extra files go where they are to, and not where a link of the image leads", [][]item{
			{dir("evil"), symlink("claude", "evil"), symlink("run", "/etc/../evil"), dir("etc"), symlink("etc/ours", "../evil/x"), file("evil/x", "theirs")},
		}, []image.Extra{ours("/claude/x"), ours("/run/deep/x"), ours("/etc/ours")}, `
			claude/ dir 0755 0:0
			claude/x file 0755 0:0 "ours"
			etc/ dir 0755 0:0
			etc/ours file 0755 0:0 "ours"
			evil/ dir 0755 0:0
			evil/x file 0644 0:0 "theirs"
			run/ dir 0755 0:0
			run/deep/ dir 0755 0:0
			run/deep/x file 0755 0:0 "ours"`},
		{"no layers at all", nil, []image.Extra{ours("/x")}, `
			x file 0755 0:0 "ours"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, layer := pulled(t, served(t, made(t, tc.layers...).content(t), tc.extra...))
			want := strings.Split(strings.ReplaceAll(strings.TrimSpace(tc.want), "\t", ""), "\n")
			if diff := cmp.Diff(want, listing(t, bytes.NewReader(layer))); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestTimesAttributesAndLongNamesAreKept(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long name/", 30) + "ä\xff"
	fine := file("fine", "x")
	fine.h.ModTime, fine.h.Format = time.Unix(1_600_000_000, 123456789), tar.FormatPAX
	capable := file("ping", "x")
	capable.h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00 \x00\x00", "SCHILY.xattr.user.x": "y"}
	big := file("big", "x").with(0o644, 3_000_000, 4_000_000)
	_, layer := pulled(t, served(t, made(t, []item{fine, capable, big, file(long, "deep"), dir("d")}).content(t)))
	got := map[string]*tar.Header{}
	for tr := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := tr.Next()
		if err != nil {
			break
		}
		got[h.Name] = h
	}
	switch {
	case got["fine"] == nil || !got["fine"].ModTime.Equal(fine.h.ModTime):
		t.Errorf("the time became %v", got["fine"])
	case got["d/"] == nil || !got["d/"].ModTime.Equal(then):
		t.Errorf("a folder's time became %v", got["d/"])
	case got[long] == nil:
		t.Error("the long name is gone")
	case got["big"].Uid != 3_000_000 || got["big"].Gid != 4_000_000:
		t.Errorf("the owner became %d:%d", got["big"].Uid, got["big"].Gid)
	}
	for k, v := range capable.h.PAXRecords {
		if got["ping"].PAXRecords[k] != v {
			t.Errorf("%s became %q", k, got["ping"].PAXRecords[k])
		}
	}
}

func TestOnlyWhatAMachineNeedsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	h := made(t, []item{file("a", "1")})
	c := h.content(t)
	if c.Digest != digestOf(h.config()) || c.Arch != runtime.GOARCH || c.User != "cat" || c.Workdir != "/work" ||
		cmp.Diff(c.Env, []string{"PATH=/bin", "A=b"}) != "" || cmp.Diff(c.Volumes, []string{"/data", "/z"}) != "" {
		t.Errorf("the content is %+v", c)
	}
	config, _ := pulled(t, served(t, c))
	zero := v1.Time{Time: time.Unix(0, 0).UTC()}
	want := &v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux", Created: zero, RootFS: config.RootFS,
		History: []v1.History{{Created: zero, CreatedBy: "claude-bottle"}},
		Config:  v1.Config{Env: []string{"PATH=/bin", "A=b"}, WorkingDir: "/work"},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestTheSameContentHasTheSameDigest(t *testing.T) {
	t.Parallel()
	h := made(t, []item{dir("a"), file("a/x", strings.Repeat("text ", 100_000)), hard("a/y", "a/x"), symlink("l", "a"), gone("nothing")}, []item{file("b", "2"), gone("a/x")})
	source := written(t, "ours", []byte("ours"))
	extra := []image.Extra{{Path: "/a/z", Mode: 0o755, Source: source}, {Path: "/init", Mode: 0o755, Source: source}}
	digest := func(c image.Content, extra ...image.Extra) string {
		_, d, _ := strings.Cut(served(t, c, extra...).Ref(), "@")
		return d
	}
	want := digest(h.content(t), extra...)
	if err := os.Chtimes(source, then, then); err != nil {
		t.Fatal(err)
	}
	if got := digest(h.content(t), extra[1], extra[0]); got != want {
		t.Error("the file's time or the order of extra files counts")
	}
	saved, packedSaved := tarOf(t, h.dockerSave(t, nil)...), tarOf(t, h.dockerSave(t, zipped)...)
	layout, packedLayout := tarOf(t, oci(t, false, nil, h)...), tarOf(t, oci(t, true, zipped, h)...)
	for name, archive := range map[string]string{
		"docker save, packed layers":         written(t, "a.tar", packedSaved),
		"docker save, packed":                written(t, "a.tar.gz", zipped(saved)),
		"docker save, packed, packed layers": written(t, "a.tgz", zipped(packedSaved)),
		"docker save in a folder":            unpackedIn(t, h.dockerSave(t, nil)),
		"OCI":                                written(t, "a.tar", layout),
		"OCI, packed layers, nested":         written(t, "a.tar", packedLayout),
		"OCI, packed twice":                  written(t, "a.tar.gz", zipped(packedLayout)),
		"OCI in a folder":                    unpackedIn(t, oci(t, false, zipped, h)),
		"OCI in a folder, layers of zstd":    unpackedIn(t, oci(t, true, zstandard(t), h)),
		"docker save, packed with zstd":      written(t, "a.tar", zstandard(t)(saved)),
	} {
		c, err := image.Archive(t.Context(), archive, runtime.GOARCH)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := digest(c, extra...); got != want || c.Digest != digestOf(h.config()) {
			t.Errorf("%s: the digest is %s, want %s", name, got, want)
		}
	}
	if digest(h.content(t)) == want || digest(made(t, []item{file("a", "1")}).content(t), extra...) == want {
		t.Error("other content has the same digest")
	}
}

func TestExtraFilesThatCanNotBe(t *testing.T) {
	t.Parallel()
	c := made(t, []item{file("a", "1")}).content(t)
	source := written(t, "ours", []byte("ours"))
	scratch := t.TempDir()
	for _, x := range []image.Extra{
		{Path: "a", Source: source}, {Path: "/", Source: source}, {Path: "/a/../b", Source: source}, {Path: "/a/", Source: source}, {Path: "", Source: source},
		{Path: "/a", Source: filepath.Join(scratch, "absent")}, {Path: "/a", Source: scratch}, {Path: "/a", Source: "/dev/zero"},
	} {
		if r, err := image.Serve(t.Context(), c, []image.Extra{x}, image.ServeOptions{Dir: scratch, Arch: runtime.GOARCH}); err == nil {
			t.Errorf("%+v was taken", x)
			_ = r.Close()
		}
	}
	nothingIn(t, scratch)
}
