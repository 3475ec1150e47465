package image_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/image"
)

func TestIsArchive(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]bool{
		"/x": true, "./x": true, "../x": true, "x.tar": true, "a/b.tar.gz": true, "x.tgz": true,
		"debian:12-slim": false, "ghcr.io/a/b:1": false, "x.tar/y": false, "": false, "~/x": false, ".x": false, "a.tar:1": false,
	} {
		if image.IsArchive(ref) != want {
			t.Errorf("%q: %v", ref, !want)
		}
	}
}

// changed is b with another byte in the place of the last occurrence of text.
func changed(t *testing.T, b []byte, text string) []byte {
	t.Helper()
	at := bytes.LastIndex(b, []byte(text))
	if at < 0 {
		t.Fatalf("there is no %q", text)
	}
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func TestArchivesThatAreRefused(t *testing.T) {
	t.Parallel()
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	h := made(t, []item{file("a", "content of a file")}, []item{file("b", "2")})
	foreign := h
	foreign.arch = other
	saved := tarOf(t, h.dockerSave(t, nil)...)
	two := append(h.dockerSave(t, nil)[:0:0], h.dockerSave(t, nil)...)
	list := &two[len(two)-1]
	one := strings.TrimSuffix(strings.TrimPrefix(list.content, "["), "]")
	*list = file("manifest.json", "["+one+","+strings.Replace(one, "a:1", "b:2", 1)+"]")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	escape := unpackedIn(t, h.dockerSave(t, nil))
	if err := os.Remove(filepath.Join(escape, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(written(t, "manifest.json", []byte(list.content)), filepath.Join(escape, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	const save = "docker save -o FILE IMAGE"
	for _, tc := range []struct {
		name, path string
		say, hint  string
	}{
		{"nothing there", filepath.Join(t.TempDir(), "x.tar"), "is not there", save},
		{"a text", written(t, "x.tar", []byte(strings.Repeat("no archive\n", 100))), "is no image archive", save},
		{"empty", written(t, "x.tar", nil), "neither index.json nor manifest.json", save},
		{"a packed text", written(t, "x.tgz", zipped([]byte(strings.Repeat("no archive\n", 100)))), "is no image archive", save},
		{"cut off while packed", written(t, "x.tgz", zipped(saved)[:300]), "is no image archive", save},
		{"a pipe", pipe, "is no image archive", save},
		{"an empty folder", t.TempDir(), "neither index.json nor manifest.json", save},
		{"another tar", written(t, "x.tar", h.layers[0]), "neither index.json nor manifest.json", save},
		{"a folder whose manifest is outside", escape, "damaged", "again"},
		{"two images", written(t, "x.tar", tarOf(t, two...)), "holds 2 images: a:1, b:2", "one of them"},
		{"another platform", written(t, "x.tar", tarOf(t, foreign.dockerSave(t, nil)...)), "is for linux/" + other + ", and linux/" + runtime.GOARCH + " is wanted", "linux/" + runtime.GOARCH},
		{"another platform, OCI", written(t, "x.tar", tarOf(t, oci(t, false, nil, foreign)...)), "is for linux/" + other, "linux/" + runtime.GOARCH},
		{"a manifest that is none", written(t, "x.tar", tarOf(t, file("manifest.json", "{"))), "damaged", "again"},
		{"an index that is none", written(t, "x.tar", tarOf(t, file("index.json", "\x00"))), "damaged", "again"},
		{"no image in it", written(t, "x.tar", tarOf(t, file("index.json", "{}"))), "no image in it", "again"},
		{"a configuration that was changed", written(t, "x.tar", changed(t, tarOf(t, oci(t, false, nil, h)...), "Entrypoint")), "another file than its name says", "again"},
		{"fewer layers than said", written(t, "x.tar", bytes.Replace(saved, []byte(`"0/layer.tar",`), []byte(`              `), 1)), "has 1 layers, and its configuration speaks of 2", "again"},
		{"a layer that was changed", written(t, "x.tar", changed(t, saved, "content of a file")), "layer 1: its digest is", "again"},
		{"a packed layer that was changed", written(t, "x.tar", changed(t, tarOf(t, h.dockerSave(t, zipped)...), "\x1f\x8b")), "layer", "again"},
		{"a layer of another name", written(t, "x.tar", bytes.Replace(saved, []byte(`"0/layer.tar"`), []byte(`"9/layer.tar"`), 1)), "a layer is missing", "again"},
		{"a hard link to nothing", written(t, "x.tar", tarOf(t, made(t, []item{hard("a", "b")}).dockerSave(t, nil)...)), "which is no file", "again"},
		{"a name beyond what there is", written(t, "x.tar", tarOf(t, made(t, []item{file(strings.Repeat("a/", 3000)+"a", "")}).dockerSave(t, nil)...)), "more than 4096 bytes", "again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			scratch := t.TempDir()
			c, err := image.Archive(t.Context(), tc.path, runtime.GOARCH)
			if err == nil {
				var r *image.Registry
				if r, err = image.Serve(t.Context(), c, nil, image.ServeOptions{Dir: scratch, Arch: runtime.GOARCH}); err == nil {
					_ = r.Close()
					t.Fatal("it was taken")
				}
			}
			if !strings.Contains(err.Error(), tc.say) || !strings.Contains(hint(err), tc.hint) {
				t.Errorf("%v, hint %q; want %q and %q", err, hint(err), tc.say, tc.hint)
			}
			nothingIn(t, scratch)
		})
	}
}

func TestOfSeveralPlatformsTheOneIsTaken(t *testing.T) {
	t.Parallel()
	mine, other := made(t, []item{file("mine", "1")}), made(t, []item{file("other", "2")})
	other.arch = "riscv64"
	for _, nested := range []bool{false, true} {
		items := oci(t, nested, nil, other, mine)
		for name, archive := range map[string]string{"a tar": written(t, "a.tar", tarOf(t, items...)), "packed": written(t, "a.tgz", zipped(tarOf(t, items...))), "a folder": unpackedIn(t, items)} {
			c, err := image.Archive(t.Context(), archive, runtime.GOARCH)
			if err != nil {
				t.Fatal(name, err)
			}
			_, layer := pulled(t, served(t, c))
			if got := fmt.Sprint(listing(t, bytes.NewReader(layer))); !strings.Contains(got, "mine") {
				t.Errorf("%s: got %s", name, got)
			}
		}
	}
}

func TestOldDockersLinkALayerThatIsThereTwice(t *testing.T) {
	t.Parallel()
	h := made(t, []item{file("a", "1")}, []item{gone("a")}, []item{file("a", "1")})
	items := h.dockerSave(t, nil)
	for i := range items {
		if items[i].h.Name == "2/layer.tar" {
			items[i] = symlink("2/layer.tar", "../0/layer.tar")
		}
	}
	c, err := image.Archive(t.Context(), written(t, "a.tar", tarOf(t, items...)), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	_, layer := pulled(t, served(t, c))
	if got := fmt.Sprint(listing(t, bytes.NewReader(layer))); got != `[a file 0644 0:0 "1"]` {
		t.Errorf("got %s", got)
	}
}

func TestAnArchiveThatBecameAnother(t *testing.T) {
	t.Parallel()
	name := written(t, "a.tar", tarOf(t, made(t, []item{file("a", "1")}).dockerSave(t, nil)...))
	c, err := image.Archive(t.Context(), name, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, tarOf(t, made(t, []item{file("a", "2")}).dockerSave(t, nil)...), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = image.Serve(t.Context(), c, nil, image.ServeOptions{Dir: t.TempDir(), Arch: runtime.GOARCH})
	if err == nil || !strings.Contains(err.Error(), "another image than a moment ago") {
		t.Errorf("got %v", err)
	}
}
