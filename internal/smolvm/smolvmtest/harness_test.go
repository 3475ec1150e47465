//go:build linux

package smolvmtest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest"
)

// What TestMain builds: the stand-in and a program for its machines.
var built, guestProgram string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "smolvmtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if built, err = smolvmtest.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	guestProgram = filepath.Join(dir, "guest")
	cmd := exec.Command("go", "build", "-o", guestProgram, "./testdata/guest")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the guest's program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// needsRoot is for tests that run machines.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("machines need root")
	}
	t.Skip("machines need root")
}

// rig is an installed stand-in with a data folder.
type rig struct {
	*smolvmtest.Tool
	t    *testing.T
	data string
	env  []string // added to every run's
}

func install(t *testing.T) *rig {
	t.Helper()
	// Short, as paths of sockets have to be.
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	tool := smolvmtest.Install(t, built, filepath.Join(dir, "bin"))
	return &rig{Tool: tool, t: t, data: filepath.Join(dir, "data")}
}

func (r *rig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(r.Path(), args...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "SMOLVM_DATA_DIR=" + r.data}, r.env...)
	return cmd
}

// result is how a run ended.
type result struct {
	code        int
	out, errors string
}

func (r *rig) runWith(stdin string, args ...string) result {
	r.t.Helper()
	cmd := r.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		r.t.Fatalf("%v: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (r *rig) run(args ...string) result { r.t.Helper(); return r.runWith("", args...) }

// must runs a command that has to succeed, and returns its output.
func (r *rig) must(args ...string) string {
	r.t.Helper()
	a := r.run(args...)
	if a.code != 0 {
		r.t.Fatalf("%v: exit %d\n%s%s", args, a.code, a.out, a.errors)
	}
	return a.out
}

// fails runs a command that has to fail in this way.
func (r *rig) fails(code int, says string, args ...string) {
	r.t.Helper()
	a := r.run(args...)
	if a.code != code || !strings.Contains(a.errors, says) || code == 2 && a.out != "" {
		r.t.Errorf("%v: exit %d, stdout %q, stderr %q, want exit %d with %q", args, a.code, a.out, a.errors, code, says)
	}
}

// status is a machine's, or nil.
func (r *rig) status(name string) map[string]any {
	r.t.Helper()
	a := r.run("machine", "status", "--name", name, "--json")
	if a.code != 0 {
		return nil
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(a.out), &m); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// machine makes and starts a machine of the test image. More are options of create, or "--" and a command.
func (r *rig) machine(name string, more ...string) {
	r.t.Helper()
	if len(more) == 0 {
		more = []string{"--", "/bin/true"}
	}
	r.must(append([]string{"machine", "create", "--name", name, "--from", packed(r.t)}, more...)...)
	r.must("machine", "start", "--name", name)
}

// exec runs a shell command in a machine, with pipes, and returns what it says.
func (r *rig) exec(name, script string) string {
	r.t.Helper()
	return r.must("machine", "exec", "--name", name, "-i", "--", "sh", "-c", script)
}

// eventually waits for something that happens soon.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begin := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("after 30 s: %s", what)
		}
	}
}

// file is an entry of a layer.
type file struct {
	name, body, link string
	mode             int64
	uid              int
}

// layer makes a layer of files, compressed.
func layer(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.uid, Size: int64(len(f.body)), Typeflag: tar.TypeReg, ModTime: time.Unix(1e9, 0)}
		switch {
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		case f.link != "" && strings.HasPrefix(f.link, "="):
			h.Typeflag, h.Linkname = tar.TypeLink, f.link[1:]
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// system is a layer with a shell and a few programs of this host, and the libraries they need.
var system = sync.OnceValues(func() ([]file, error) {
	files := []file{{name: "bin/"}, {name: "etc/"}, {name: "var/"}, {name: "etc/passwd", body: "root:x:0:0::/root:/bin/sh\n", mode: 0o644}}
	seen := map[string]bool{}
	add := func(from, as string) error {
		if seen[as] {
			return nil
		}
		seen[as] = true
		b, err := os.ReadFile(from)
		files = append(files, file{name: strings.TrimPrefix(as, "/"), body: string(b)})
		return err
	}
	if err := add(guestProgram, "/bin/guest"); err != nil {
		return nil, err
	}
	for _, name := range strings.Fields("sh cat sleep ls mkdir rm id stat env true dd ps mount touch ln hostname kill printf tty wc") {
		from, err := exec.LookPath(name)
		if err != nil {
			continue // some are the shell's own
		}
		if err := add(from, "/bin/"+name); err != nil {
			return nil, err
		}
		out, err := exec.Command("ldd", from).Output()
		if err != nil {
			continue // it needs nothing
		}
		for _, word := range strings.Fields(string(out)) {
			if path.IsAbs(word) {
				if err := add(word, word); err != nil {
					return nil, err
				}
			}
		}
	}
	return files, nil
})

// registry is a registry with one image at test/image.
type registry struct {
	*httptest.Server
	mu    sync.Mutex
	parts map[string][]byte // by path below /v2/test/image/
	kinds map[string]string
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{parts: map[string][]byte{}, kinds: map[string]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		name, _ := strings.CutPrefix(q.URL.Path, "/v2/test/image/")
		b, ok := r.parts[name]
		if !ok {
			http.NotFound(w, q)
			return
		}
		w.Header().Set("Content-Type", r.kinds[name])
		_, _ = w.Write(b)
	}))
	t.Cleanup(r.Close)
	return r
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// blob stores a part and returns its descriptor.
func (r *registry) blob(kind string, b []byte) map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts["blobs/"+digest(b)] = b
	return map[string]any{"mediaType": kind, "digest": digest(b), "size": len(b)}
}

// manifest stores a manifest under a tag and its digest, and returns its descriptor.
func (r *registry) manifest(t *testing.T, tag, kind string, v map[string]any) map[string]any {
	t.Helper()
	v["schemaVersion"], v["mediaType"] = 2, kind
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range []string{tag, digest(b)} {
		r.parts["manifests/"+name], r.kinds["manifests/"+name] = b, kind
	}
	return map[string]any{"mediaType": kind, "digest": digest(b), "size": len(b)}
}

const (
	manifestKind = "application/vnd.oci.image.manifest.v1+json"
	indexKind    = "application/vnd.oci.image.index.v1+json"
	configKind   = "application/vnd.oci.image.config.v1+json"
	layerKind    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// push stores an image under a tag and returns the descriptor of its manifest.
func (r *registry) push(t *testing.T, tag string, config map[string]any, layers ...[]byte) map[string]any {
	t.Helper()
	c, err := json.Marshal(map[string]any{"os": "linux", "architecture": runtime.GOARCH, "config": config})
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{"config": r.blob(configKind, c)}
	var all []any
	for _, l := range layers {
		all = append(all, r.blob(layerKind, l))
	}
	m["layers"] = all
	return r.manifest(t, tag, manifestKind, m)
}

// image is how the stand-in names the registry's image.
func (r *registry) image(version string) string {
	return strings.TrimPrefix(r.URL, "http://") + "/test/image" + version
}

var packOnce struct {
	sync.Mutex
	path string
}

// packed is an artifact of the test image, made once by the stand-in itself.
func packed(t *testing.T) string {
	t.Helper()
	packOnce.Lock()
	defer packOnce.Unlock()
	if packOnce.path != "" {
		return packOnce.path
	}
	files, err := system()
	if err != nil {
		t.Fatal(err)
	}
	reg := newRegistry(t)
	reg.push(t, "latest", map[string]any{"Env": []string{"IMAGE=1", "BOTH=image"}, "Cmd": []string{"/bin/true"}}, layer(t, files...))
	r := install(t)
	out := filepath.Join(filepath.Dir(built), "packed")
	r.must("pack", "create", "--image", reg.image(""), "--output", out)
	packOnce.path = out + ".smolmachine"
	return packOnce.path
}
