package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// sound fails when a tar is not what a client can unpack into an empty folder in one go.
func sound(t *testing.T, b []byte) {
	t.Helper()
	kinds := map[string]byte{"": tar.TypeDir}
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		name := path.Clean("/" + h.Name)[1:]
		if got := strings.TrimSuffix(h.Name, "/"); got != name && h.Name != "./" {
			t.Fatalf("%q is no clean name", h.Name)
		}
		if _, twice := kinds[name]; twice && name != "" {
			t.Fatalf("%q is there twice", name)
		}
		if strings.HasPrefix(path.Base(name), hidePrefix) {
			t.Fatalf("the whiteout %q is left", name)
		}
		if above, _ := path.Split(name); kinds[strings.TrimSuffix(above, "/")] != tar.TypeDir {
			t.Fatalf("%q is in no folder", name)
		}
		if h.Typeflag == tar.TypeLink {
			if kind, ok := kinds[h.Linkname]; !ok || kind == tar.TypeDir || kind == tar.TypeLink {
				t.Fatalf("%q is a link to %q, which is no file that came before", name, h.Linkname)
			}
		}
		kinds[name] = h.Typeflag
	}
}

// script makes layers of few names from bytes, three for each entry: what, where, and where to.
// There are few names, so that most entries have to do with each other.
func script(b []byte) (layers [][]byte) {
	names := []string{"a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/a/b", "b/a/b"}
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	end := func() {
		_ = tw.Close() // to memory
		layers = append(layers, bytes.Clone(out.Bytes()))
		out.Reset()
		tw = tar.NewWriter(&out)
	}
	for n := 0; len(b) >= 3 && n < 60; n, b = n+1, b[3:] {
		name, to := names[int(b[1])%len(names)], names[int(b[2])%len(names)]
		h := tar.Header{Name: name, Mode: int64(n + 1), Uid: n}
		switch b[0] % 8 {
		case 0, 1:
			h.Typeflag, h.Size = tar.TypeReg, 1
		case 2:
			h.Typeflag, h.Name = tar.TypeDir, name+"/"
		case 3:
			h.Typeflag, h.Linkname = tar.TypeSymlink, to
		case 4:
			h.Typeflag, h.Linkname = tar.TypeLink, to
		case 5:
			h.Typeflag, h.Name = tar.TypeReg, path.Join(path.Dir(name), hidePrefix+path.Base(name))
		case 6:
			h.Typeflag, h.Name = tar.TypeReg, path.Join(name, hideAll)
		case 7:
			end()
			continue
		}
		_ = tw.WriteHeader(&h) // to memory
		if h.Size > 0 {
			_, _ = tw.Write([]byte{byte(n)})
		}
	}
	end()
	return layers
}

// stack is the other way to say what layers come to, as overlay file systems do it: each layer is
// unpacked alone, with what it hides, and a name is looked for from the top down. It returns names
// with the number of the entry that made them. Where a hard link leads to another layer, which an
// overlay can't have, or a name is a file and then a folder in one layer, of which engines make
// different things, ok is false.
func stack(layers [][]byte) (found map[string]string, ok bool) {
	type alone struct {
		is    map[string]string // "file 3", "dir 5", "dir" for a folder that is not described
		hides map[string]bool
		all   map[string]bool
	}
	under := func(dir, name string) bool { return dir == "" || strings.HasPrefix(name, dir+"/") }
	var stacked []alone
	both := false
	for _, l := range layers {
		a := alone{map[string]string{"": "dir"}, map[string]bool{}, map[string]bool{}}
		drop := func(name string) {
			for other := range a.is {
				if other == name || under(name, other) {
					delete(a.is, other)
				}
			}
		}
		way := func(name string) {
			for at, c := range name {
				if dir := name[:at]; c == '/' && !strings.HasPrefix(a.is[dir], "dir") {
					both = both || a.is[dir] != ""
					a.is[dir] = "dir"
				}
			}
		}
		for tr := tar.NewReader(bytes.NewReader(l)); ; {
			h, err := tr.Next()
			if err != nil {
				break
			}
			name := strings.TrimSuffix(h.Name, "/")
			dir, base := path.Split(name)
			dir = strings.TrimSuffix(dir, "/")
			switch {
			case base == hideAll:
				a.all[dir] = true
			case strings.HasPrefix(base, hidePrefix):
				a.hides[path.Join(dir, base[len(hidePrefix):])] = true
			case h.Typeflag == tar.TypeDir:
				way(name)
				both = both || strings.HasPrefix(a.is[name], "file")
				a.is[name] = "dir " + strconv.Itoa(h.Uid)
			default:
				is := "file " + strconv.Itoa(h.Uid)
				if h.Typeflag == tar.TypeLink {
					if is = a.is[h.Linkname]; !strings.HasPrefix(is, "file") {
						return nil, false
					}
				}
				way(name)
				drop(name)
				a.is[name] = is
			}
		}
		stacked = append(stacked, a)
	}
	found = map[string]string{}
	for i, low := range stacked {
		for name, is := range low.is {
			seen := true
			for _, high := range stacked[i+1:] {
				// The name itself, or a folder it is in, may be hidden or be something else further up.
				for at := range len(name) + 1 {
					if at < len(name) && name[at] != '/' {
						continue
					}
					part := name[:at]
					if at < len(name) {
						seen = seen && !strings.HasPrefix(high.is[part], "file") && !high.all[part]
					}
					seen = seen && !high.hides[part]
				}
				seen = seen && !high.all[""]
				there, also := high.is[name]
				if also && there != "dir" || also && strings.HasPrefix(is, "file") {
					seen = false // replaced, or described anew
				}
			}
			// What is only on the way counts where nothing below says more.
			if _, more := found[name]; name != "" && seen && (is != "dir" || !more) {
				found[name] = is
			}
		}
	}
	return found, !both
}

// FuzzSquash compares what layers come to with stack, a file of ours being on top.
func FuzzSquash(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x04\x01\x00\x07\x00\x00\x05\x00\x00"), false)                                    // a hard link outlives its first name
	f.Add([]byte("\x00\x02\x00\x00\x03\x00\x07\x00\x00\x06\x00\x00\x00\x02\x00"), true)                         // an opaque folder
	f.Add([]byte("\x02\x00\x00\x00\x03\x00\x07\x00\x00\x00\x02\x00\x05\x00\x00\x07\x00\x00\x03\x02\x01"), true) // hidden, and there again
	f.Fuzz(func(t *testing.T, b []byte, ours bool) {
		config := &v1.ConfigFile{Architecture: "amd64", OS: "linux"}
		l := &layered{config: config}
		layers := script(b)
		for _, b := range layers {
			diff, _, err := v1.SHA256(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diff)
			l.layers = append(l.layers, io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
		}
		want, comparable := stack(layers)
		var extra []Extra
		if ours {
			source := filepath.Join(t.TempDir(), "ours")
			if err := os.WriteFile(source, []byte("ours"), 0o600); err != nil {
				t.Fatal(err)
			}
			extra = []Extra{{Path: "/a/a/a", Mode: 0o755, Source: source}}
		}
		s := &supply{ref: "fuzz", dir: t.TempDir()}
		q, err := s.squash(context.Background(), l, extra)
		if err != nil {
			if comparable {
				t.Fatal(err)
			}
			return
		}
		defer q.layer.Close()
		packed := io.NewSectionReader(q.layer, 0, q.size)
		r, done, err := uncompressed(packed, packed)
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		layer, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		sound(t, layer)
		got, mine := map[string]string{}, false
		for tr := tar.NewReader(bytes.NewReader(layer)); ; {
			h, err := tr.Next()
			if err != nil {
				break
			}
			name := strings.TrimSuffix(h.Name, "/")
			switch {
			case name == "a/a/a" && ours:
				mine = h.Typeflag == tar.TypeReg && h.Size == 4 && h.Uid == 0 && h.Mode == 0o755
			case h.Typeflag == tar.TypeDir && h.Mode == 0o755:
				got[name] = "dir"
			case h.Typeflag == tar.TypeDir:
				got[name] = "dir " + strconv.Itoa(h.Uid)
			default:
				got[name] = "file " + strconv.Itoa(h.Uid)
			}
		}
		switch {
		case ours != mine:
			t.Fatal("our file is not as it is to be")
		case ours: // what it replaced is tested elsewhere
		case comparable && !maps.Equal(got, want):
			t.Fatalf("layers:\n%s\ngot  %v\nwant %v", show(layers), got, want)
		}
	})
}

// show is layers in words.
func show(layers [][]byte) string {
	var out strings.Builder
	for n, l := range layers {
		for tr := tar.NewReader(bytes.NewReader(l)); ; {
			h, err := tr.Next()
			if err != nil {
				break
			}
			fmt.Fprintf(&out, "%d: %d %c %s %s\n", n, h.Uid, h.Typeflag, h.Name, h.Linkname)
		}
	}
	return out.String()
}

// FuzzArchive reads an archive whose JSON may be anything.
func FuzzArchive(f *testing.F) {
	layer := script([]byte("\x00\x00\x00"))[0]
	at := func(b []byte) string { return "blobs/sha256/" + strings.TrimPrefix(digestOfBytes(b), "sha256:") }
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["` + digestOfBytes(layer) + `"]}}`)
	manifest := []byte(`{"schemaVersion":2,"config":{"digest":"` + digestOfBytes(config) + `"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + digestOfBytes(layer) + `"}]}`)
	f.Add([]byte(""), []byte(""), config, []byte(`[{"Config":"c.json","Layers":["l"]}]`))
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+digestOfBytes(manifest)+`"}]}`), manifest, config, []byte(""))
	f.Fuzz(func(t *testing.T, index, manifest, config, list []byte) {
		name := filepath.Join(t.TempDir(), "a.tar")
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		for name, text := range map[string][]byte{"index.json": index, at(manifest): manifest, at(config): config, "c.json": config, "manifest.json": list, "l": layer, at(layer): layer} {
			if len(text) > 0 {
				_ = tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644}) // to memory
				_, _ = tw.Write(text)                                                            // as well
			}
		}
		_ = tw.Close()
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Archive(context.Background(), name, "amd64")
		if err != nil {
			return
		}
		if c.Arch != "amd64" {
			t.Fatalf("an image for %q was taken", c.Arch)
		}
		s := &supply{ref: "fuzz", dir: t.TempDir()}
		l, err := c.open(context.Background(), s)
		if err != nil {
			return
		}
		defer l.close()
		if q, err := s.squash(context.Background(), l, nil); err == nil {
			_ = q.layer.Close() // nothing reads it
		}
	})
}

// The library would fall back to plain HTTP for private networks, with the login.
func TestNoLoginGoesOutInTheClear(t *testing.T) {
	t.Parallel()
	var asked []string
	g := guarded{roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Host)
		return nil, errors.New("asked")
	})}
	for target, sent := range map[string]bool{
		"https://example.com/v2/": true, "https://10.0.0.1/v2/": true, "http://127.0.0.1:5000/v2/": true, "http://127.9.9.9/v2/": true, "http://[::1]:5000/v2/": true, "http://localhost:5000/v2/": true,
		"http://10.0.0.1:5000/v2/": false, "http://192.168.1.2/v2/": false, "http://example.com/v2/": false, "http://localhost.example.com/": false, "http://reg.local/v2/": false,
	} {
		asked = nil
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := g.RoundTrip(r); err == nil {
			_ = res.Body.Close() // there is none
		}
		if (len(asked) > 0) != sent {
			t.Errorf("%s was sent: %v", target, !sent)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
