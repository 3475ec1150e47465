package image_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/image"
	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// item is one entry of a handmade layer.
type item struct {
	h       tar.Header
	content string
}

var then = time.Unix(1_700_000_000, 0)

func file(name, content string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: then}, content}
}

func dir(name string) item {
	return item{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: then}, ""}
}

func symlink(name, to string) item {
	return item{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777, ModTime: then}, ""}
}

func hard(name, to string) item {
	return item{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, Mode: 0o644, ModTime: then}, ""}
}

// gone hides a name of the layers below.
func gone(name string) item { return file(path.Join(path.Dir(name), ".wh."+path.Base(name)), "") }

// with is i with another mode and owner.
func (i item) with(mode int64, uid, gid int) item {
	i.h.Mode, i.h.Uid, i.h.Gid = mode, uid, gid
	return i
}

func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, i := range items {
		if err := tw.WriteHeader(&i.h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, i.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // to memory
	_ = w.Close()
	return out.Bytes()
}

// handmade is an image by its layers, each a tar.
type handmade struct {
	arch   string
	layers [][]byte
}

func made(t testing.TB, layers ...[]item) handmade {
	t.Helper()
	h := handmade{arch: runtime.GOARCH}
	for _, l := range layers {
		h.layers = append(h.layers, tarOf(t, l...))
	}
	return h
}

// config names everything that a machine is not to start.
func (h handmade) config() []byte {
	diffs := []string{}
	for _, l := range h.layers {
		diffs = append(diffs, digestOf(l))
	}
	ids, _ := json.Marshal(diffs) // of strings
	return fmt.Appendf(nil, `{"architecture":%q,"os":"linux","created":"2026-01-02T03:04:05Z",
		"config":{"Env":["PATH=/bin","A=b"],"WorkingDir":"/work","User":"cat","Cmd":["sh"],"Entrypoint":["/init"],"Volumes":{"/z":{},"/data":{}},
		"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","true"]},"OnBuild":["RUN false"]},
		"rootfs":{"type":"layers","diff_ids":%s}}`, h.arch, ids)
}

// dockerSave is what old Dockers write, with layers packed when pack is given.
func (h handmade) dockerSave(t testing.TB, pack func([]byte) []byte) []item {
	t.Helper()
	config := string(h.config())
	name := strings.TrimPrefix(digestOf([]byte(config)), "sha256:") + ".json"
	items, layers := []item{}, []string{}
	for i, l := range h.layers {
		if pack != nil {
			l = pack(l)
		}
		layer := fmt.Sprintf("%d/layer.tar", i)
		layers = append(layers, layer)
		items = append(items, dir(fmt.Sprint(i)), file(layer, string(l)))
	}
	list, err := json.Marshal(layers)
	if err != nil {
		t.Fatal(err)
	}
	return append(items, file(name, config), file("manifest.json", fmt.Sprintf(`[{"Config":%q,"RepoTags":["a:1"],"Layers":%s}]`, name, list)))
}

// ociManifest is the image as an OCI layout has it: its manifest, and its blobs by their digests.
func (h handmade) ociManifest(t testing.TB, pack func([]byte) []byte) (manifest []byte, blobs map[string][]byte) {
	t.Helper()
	config := h.config()
	blobs = map[string][]byte{digestOf(config): config}
	layers := []string{}
	for _, l := range h.layers {
		kind := "tar"
		if pack != nil {
			l, kind = pack(l), "tar+gzip"
		}
		blobs[digestOf(l)] = l
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.%s","size":%d,"digest":%q}`, kind, len(l), digestOf(l)))
	}
	manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":%d,"digest":%q},"layers":[%s]}`,
		len(config), digestOf(config), strings.Join(layers, ","))
	blobs[digestOf(manifest)] = manifest
	return manifest, blobs
}

// oci is an OCI layout with an image for each platform, in an index of their own when nested.
func oci(t testing.TB, nested bool, pack func([]byte) []byte, images ...handmade) []item {
	t.Helper()
	items, entries := []item{dir("blobs"), dir("blobs/sha256"), file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)}, []string{}
	blob := func(b []byte) {
		items = append(items, file("blobs/sha256/"+strings.TrimPrefix(digestOf(b), "sha256:"), string(b)))
	}
	for _, h := range images {
		m, blobs := h.ociManifest(t, pack)
		for _, b := range blobs {
			blob(b)
		}
		platform := ""
		if nested {
			platform = fmt.Sprintf(`,"platform":{"os":"linux","architecture":%q}`, h.arch)
		}
		entries = append(entries, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%d,"digest":%q%s,"annotations":{"org.opencontainers.image.ref.name":"tag-%s"}}`, len(m), digestOf(m), platform, h.arch))
	}
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}`, strings.Join(entries, ","))
	if nested {
		blob(index)
		index = fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","size":%d,"digest":%q}]}`, len(index), digestOf(index))
	}
	items = append(items, file("index.json", string(index)))
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(b.h.Typeflag, a.h.Typeflag) }) // folders first
	return items
}

// written is a file with these bytes.
func written(t testing.TB, name string, b []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// unpackedIn is a folder with these items.
func unpackedIn(t testing.TB, items []item) string {
	t.Helper()
	at := t.TempDir()
	for _, i := range items {
		name := filepath.Join(at, i.h.Name)
		if i.h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(name, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(name, []byte(i.content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// content is the handmade image, as an archive.
func (h handmade) content(t testing.TB) image.Content {
	t.Helper()
	c, err := image.Archive(t.Context(), written(t, "a.tar", tarOf(t, h.dockerSave(t, nil)...)), h.arch)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// served serves c until the test ends, and checks that nothing is left of it then.
func served(t testing.TB, c image.Content, extra ...image.Extra) *image.Registry {
	t.Helper()
	scratch := filepath.Join(t.TempDir(), "scratch")
	r, err := image.Serve(t.Context(), c, extra, image.ServeOptions{Dir: scratch, Arch: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		nothingIn(t, scratch)
	})
	return r
}

// nothingIn fails when a folder has a file, or this process one open that was there.
func nothingIn(t testing.TB, scratch string) {
	t.Helper()
	list, err := os.ReadDir(scratch)
	if err != nil {
		t.Error(err)
	}
	for _, e := range list {
		t.Errorf("%s is left", e.Name())
	}
	open, _ := filepath.Glob("/proc/self/fd/*") // none where there is no /proc
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, scratch+"/") {
			t.Errorf("%s is still open", to)
		}
	}
}

// url is where a part of what r serves is: "manifests", "blobs".
func url(r *image.Registry, kind, digest string) string {
	host, _, _ := strings.Cut(r.Ref(), "/")
	return "http://" + host + "/v2/claude-bottle/" + kind + "/" + digest
}

func get(t testing.TB, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, res.Status, err)
	}
	return b
}

// pulled is what a client gets of r, all checked against the digests.
func pulled(t testing.TB, r *image.Registry) (*v1.ConfigFile, []byte) {
	t.Helper()
	_, want, _ := strings.Cut(r.Ref(), "@")
	checked := func(kind, digest string) []byte {
		b := get(t, url(r, kind, digest))
		if digestOf(b) != digest {
			t.Fatalf("%s has the digest %s", digest, digestOf(b))
		}
		return b
	}
	m, err := v1.ParseManifest(bytes.NewReader(checked("manifests", want)))
	if err != nil {
		t.Fatal(err)
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(checked("blobs", m.Config.Digest.String())))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Layers) != 1 || len(config.RootFS.DiffIDs) != 1 {
		t.Fatalf("%d layers", len(m.Layers))
	}
	layer := checked("blobs", m.Layers[0].Digest.String())
	if int64(len(layer)) != m.Layers[0].Size {
		t.Errorf("the layer has %d bytes, and the manifest says %d", len(layer), m.Layers[0].Size)
	}
	zr, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(plain) != config.RootFS.DiffIDs[0].String() {
		t.Error("the layer is not the one the configuration means")
	}
	return config, plain
}

// listing is a tar in words, sorted: kind, mode, owner, name, and what is in it. Files of one hard
// link group are told by the first name in the tar.
func listing(t testing.TB, r io.Reader) []string {
	t.Helper()
	var out []string
	seen := map[string]bool{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(out)
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if seen[h.Name] && h.Typeflag != tar.TypeDir { // Podman writes folders twice
			t.Errorf("%s is there twice", h.Name)
		}
		seen[h.Name] = true
		kind := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeLink: "hard", tar.TypeFifo: "fifo", tar.TypeChar: "char"}[h.Typeflag]
		line := fmt.Sprintf("%s %s %04o %d:%d", h.Name, kind, h.Mode&0o7777, h.Uid, h.Gid) // engines write the type into the mode as well
		switch h.Typeflag {
		case tar.TypeLink:
			if !seen[h.Linkname] {
				t.Errorf("%s links to %s, which does not come before it", h.Name, h.Linkname)
			}
			line += " -> " + h.Linkname
		case tar.TypeSymlink:
			line += " -> " + h.Linkname
		case tar.TypeChar:
			line += fmt.Sprintf(" %d,%d", h.Devmajor, h.Devminor)
		case tar.TypeReg:
			b, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > 60 {
				line += fmt.Sprintf(" %d bytes %s", len(b), digestOf(b)[:15])
			} else {
				line += fmt.Sprintf(" %q", b)
			}
		}
		out = append(out, line)
	}
}

// zstandard packs as containerd may.
func zstandard(t testing.TB) func([]byte) []byte {
	return func(b []byte) []byte {
		t.Helper()
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }, tarball.WithCompression(compression.ZStd))
		if err != nil {
			t.Fatal(err)
		}
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer rc.Close()
		out, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}
