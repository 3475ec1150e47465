//go:build linux

package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// npmRegistry serves the packages that the host's npm itself is made of, as registry.npmjs.org does:
// packuments, and tarballs with their integrity. Each package has the one version that is there, and
// depends on those of its dependencies that are there.
type npmRegistry struct {
	roots []string

	mu     sync.Mutex
	packed map[string]*packedModule
}

// module is what a package.json says.
type module struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Dependencies map[string]string `json:"dependencies,omitempty"`
	Dist         *dist             `json:"dist,omitempty"`
}

type dist struct {
	Tarball   string `json:"tarball"`
	Integrity string `json:"integrity"`
}

type packedModule struct {
	module
	tarball []byte
}

// newRegistry finds where npm's own modules are: inside it, or beside it as Debian has them.
func newRegistry() (*npmRegistry, error) {
	npm, err := exec.LookPath("npm")
	if err == nil {
		npm, err = filepath.EvalSymlinks(npm)
	}
	top := filepath.Dir(filepath.Dir(npm))
	return &npmRegistry{roots: []string{filepath.Join(top, "node_modules"), filepath.Dir(top)}, packed: map[string]*packedModule{}}, err
}

func (g *npmRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, file, isFile := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/-/")
	p, err := g.pack(name)
	if err != nil || r.Method != http.MethodGet {
		http.Error(w, `{"error":"Not found"}`, http.StatusNotFound)
		return
	}
	if isFile {
		if file != filepath.Base(p.Dist.Tarball) {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(p.tarball) // a client that left does not read it
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // as above
		"name": p.Name, "dist-tags": map[string]string{"latest": p.Version}, "versions": map[string]module{p.Version: p.module},
	})
}

// find reads a module's package.json.
func (g *npmRegistry) find(name string) (m module, dir string, err error) {
	for _, root := range g.roots {
		dir = filepath.Join(root, filepath.FromSlash(name))
		var raw []byte
		if raw, err = os.ReadFile(filepath.Join(dir, "package.json")); err == nil {
			return m, dir, json.Unmarshal(raw, &m)
		}
	}
	return m, dir, err
}

// pack makes a module's tarball, once.
func (g *npmRegistry) pack(name string) (*packedModule, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.packed[name]; p != nil {
		return p, nil
	}
	m, dir, err := g.find(name)
	if err != nil {
		return nil, err
	}
	for dep := range m.Dependencies {
		if d, _, err := g.find(dep); err == nil {
			m.Dependencies[dep] = "^" + d.Version
		} else {
			delete(m.Dependencies, dep)
		}
	}
	ball, err := tarball(dir)
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(ball)
	m.Dist = &dist{
		Tarball:   fmt.Sprintf("https://registry.npmjs.org/%s/-/%s-%s.tgz", name, filepath.Base(name), m.Version),
		Integrity: "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
	}
	p := &packedModule{m, ball}
	g.packed[name] = p
	return p, nil
}

// tarball packs a module's files, without the modules below it, as npm does.
func tarball(dir string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	out := tar.NewWriter(z)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "node_modules" && path != dir {
			return fs.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{Name: "package/" + filepath.ToSlash(rel), Mode: 0o644, Size: int64(len(raw))}); err != nil {
			return err
		}
		_, err = out.Write(raw)
		return err
	})
	for _, f := range []func() error{out.Close, z.Close} {
		if cerr := f(); err == nil {
			err = cerr
		}
	}
	return b.Bytes(), err
}

// gitServer serves the repositories below a folder as hosts of git over HTTPS do.
func gitServer(t testing.TB, root string) http.Handler {
	t.Helper()
	where, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(where)), "git-http-backend"), Root: "/",
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"},
	}
}

// repository makes a bare repository at root/name with one commit of these files.
func repository(t testing.TB, root, name string, files map[string]string) {
	t.Helper()
	work := t.TempDir()
	for path, text := range files {
		path = filepath.Join(work, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "-m", "the first commit"},
		{"clone", "-q", "--bare", work, filepath.Join(root, name)},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
}
