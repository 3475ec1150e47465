package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/image"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// registry serves one image of one file, "/hello", to whoever knows the password, and returns its
// address.
func registry(t *testing.T, content, user, password string) string {
	t.Helper()
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	if err := tw.WriteHeader(&tar.Header{Name: "hello", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	const docker = "application/vnd.docker."
	config := fmt.Appendf(nil, `{"architecture":%q,"os":"linux","config":{"Cmd":["true"]},"rootfs":{"type":"layers","diff_ids":[%q]}}`,
		runtime.GOARCH, digestOf(layer.Bytes()))
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%sdistribution.manifest.v2+json","config":{"mediaType":"%scontainer.image.v1+json","size":%d,"digest":%q},"layers":[{"mediaType":"%simage.rootfs.diff.tar","size":%d,"digest":%q}]}`,
		docker, docker, len(config), digestOf(config), docker, layer.Len(), digestOf(layer.Bytes()))
	blobs := map[string][]byte{"manifests/1": manifest}
	for kind, b := range map[string][][]byte{"manifests/": {manifest}, "blobs/": {config, layer.Bytes()}} {
		for _, b := range b {
			blobs[kind+digestOf(b)] = b
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/v2/some/thing/")
		b, ok := blobs[name]
		if !ok && r.URL.Path != "/v2/" {
			http.NotFound(w, r)
			return
		}
		if strings.HasPrefix(name, "manifests/") {
			w.Header().Set("Content-Type", docker+"distribution.manifest.v2+json")
			w.Header().Set("Docker-Content-Digest", digestOf(b))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(b)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestAnAbsentImageIsPulledWithTheStoredLogin(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		if e.Kind == "podman" {
			t.Skip("Podman wants TLS of every registry that its configuration does not name; the test's has none")
		}
		w := newWorld(t, e)
		const password = "correct-horse-battery"
		addr := registry(t, w.id, "me", password)
		ref := addr + "/some/thing:1"
		config := filepath.Join(t.TempDir(), "config.json")
		auth := base64.StdEncoding.EncodeToString([]byte("me:" + password))
		if err := os.WriteFile(config, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, addr, auth), 0o600); err != nil {
			t.Fatal(err)
		}
		w.write("Dockerfile", "FROM "+ref+"\nLABEL claude-bottle.test="+w.id+"\nCOPY --from="+ref+" /hello /again\n")
		s := image.Source{Ref: "claude-bottle:" + w.id, Dockerfile: filepath.Join(w.dir, "Dockerfile")}

		_, err := w.ensure(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), ref) || !strings.Contains(hint(err), "docker pull "+ref) {
			t.Errorf("without a login: %v, hint %q", err, hint(err))
		}
		o := w.options()
		o.DockerConfig = config
		img, err := image.Ensure(t.Context(), e, s, o)
		if err != nil {
			t.Fatal(err)
		}
		there, err := e.API.ImageInspect(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		w.images = append(w.images, img.ID, there.ID)
		if got, _ := w.read(img, "/again"); got != w.id {
			t.Errorf("the image holds %q, want %q", got, w.id)
		}
		if !w.shown("pulling " + ref) {
			t.Errorf("no word of the pull in %q", w.lines)
		}
		for _, secret := range []string{password, auth} {
			if w.shown(secret) || strings.Contains(w.log.String(), secret) {
				t.Error("the password is in the output")
			}
		}
	})
}
