package image_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/image"
	theirs "github.com/google/go-containerregistry/pkg/registry"
)

// pushed is a registry that has h as some/thing:1 and, in an index with another platform's, as
// some/thing:many. Before, when not nil, sees each request first, and answers it when it returns
// true.
func pushed(t *testing.T, h handmade, before func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	reg := theirs.New(theirs.Logger(log.New(io.Discard, "", 0)))
	guard := before
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Test") == "" && guard != nil && guard(w, r) {
			return
		}
		reg.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	put := func(method, path, kind string, b []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("X-Test", "setting up")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s", path, res.Status)
		}
	}
	foreign := h
	foreign.arch = "riscv64"
	const oci = "application/vnd.oci.image."
	entries := []string{}
	for i, h := range []handmade{foreign, h} {
		m, blobs := h.ociManifest(t, zipped)
		for d, b := range blobs {
			put(http.MethodPost, "/v2/some/thing/blobs/uploads/?digest="+d, "application/octet-stream", b)
		}
		put(http.MethodPut, fmt.Sprintf("/v2/some/thing/manifests/%d", i), oci+"manifest.v1+json", m)
		entries = append(entries, fmt.Sprintf(`{"mediaType":"%smanifest.v1+json","size":%d,"digest":%q,"platform":{"os":"linux","architecture":%q}}`, oci, len(m), digestOf(m), h.arch))
	}
	put(http.MethodPut, "/v2/some/thing/manifests/many", oci+"index.v1+json",
		fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%sindex.v1+json","manifests":[%s]}`, oci, strings.Join(entries, ",")))
	return strings.TrimPrefix(s.URL, "http://")
}

func TestRemote(t *testing.T) {
	t.Parallel()
	h := made(t, []item{file("a", strings.Repeat("content ", 1000))}, []item{file("b", "2")})
	want := served(t, h.content(t)).Ref()
	host := pushed(t, h, nil)
	for _, ref := range []string{host + "/some/thing:1", host + "/some/thing:many"} {
		c, err := image.Remote(t.Context(), ref, runtime.GOARCH, "/nowhere/config.json")
		if err != nil {
			t.Fatal(err)
		}
		if c.Digest != digestOf(h.config()) || c.Ref != ref || c.Workdir != "/work" {
			t.Errorf("the content is %+v", c)
		}
		if got := served(t, c).Ref(); after(got, "@") != after(want, "@") {
			t.Errorf("%s became %s, want %s", ref, got, want)
		}
	}
	for ref, say := range map[string]string{
		host + "/some/thing:0":    "is for linux/riscv64, and linux/" + runtime.GOARCH + " is wanted",
		host + "/some/thing:none": "the registry " + host + " has no image",
		"Not A Name":              "is no name of an image",
		"127.0.0.1:1/some/thing":  "can't be read from the registry 127.0.0.1:1",
	} {
		_, err := image.Remote(t.Context(), ref, runtime.GOARCH, "")
		if err == nil || !strings.Contains(err.Error(), say) || hint(err) == "" {
			t.Errorf("%s: %v, hint %q", ref, err, hint(err))
		}
	}
	if _, err := image.Remote(t.Context(), host+"/some/thing:many", "s390x", ""); err == nil || !strings.Contains(err.Error(), "linux/riscv64, and linux/s390x is wanted") {
		t.Errorf("of an index without it: %v", err)
	}
}

func after(s, sep string) string {
	_, rest, _ := strings.Cut(s, sep)
	return rest
}

func TestRemoteUsesTheStoredLogin(t *testing.T) {
	t.Parallel()
	const password = "correct-horse-battery"
	h := made(t, []item{file("a", "1")})
	host := pushed(t, h, func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, _ := r.BasicAuth(); u == "me" && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return true
	})
	auth := base64.StdEncoding.EncodeToString([]byte("me:" + password))
	config := func(pair string) string {
		return written(t, "config.json", fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, pair))
	}
	c, err := image.Remote(t.Context(), host+"/some/thing:1", runtime.GOARCH, config(auth))
	if err != nil {
		t.Fatal(err)
	}
	pulled(t, served(t, c))
	for who, file := range map[string]string{"anybody": "", "the stored login": config(base64.StdEncoding.EncodeToString([]byte("me:" + password + "!")))} {
		_, err := image.Remote(t.Context(), host+"/some/thing:1", runtime.GOARCH, file)
		if err == nil || !strings.Contains(err.Error(), "to "+who) || !strings.Contains(hint(err), "docker login "+host) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v, hint %q", who, err, hint(err))
		}
	}
}

func TestARegistryThatBreaksOff(t *testing.T) {
	t.Parallel()
	h := made(t, []item{file("a", strings.Repeat("content ", 1000))})
	layer := zipped(h.layers[0])
	for name, answer := range map[string]func(http.ResponseWriter){
		"cut off": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
			_, _ = w.Write(layer[:10])
		},
		"changed": func(w http.ResponseWriter) {
			other := bytes.Clone(layer)
			other[len(other)-1] ^= 1
			_, _ = w.Write(other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := pushed(t, h, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, digestOf(layer)) {
					return false
				}
				answer(w)
				return true
			})
			c, err := image.Remote(t.Context(), host+"/some/thing:1", runtime.GOARCH, "")
			if err != nil {
				t.Fatal(err)
			}
			scratch := t.TempDir()
			_, err = image.Serve(t.Context(), c, nil, image.ServeOptions{Dir: scratch, Arch: runtime.GOARCH})
			if err == nil || !strings.Contains(err.Error(), "can't be read from the registry") || hint(err) == "" {
				t.Errorf("got %v, hint %q", err, hint(err))
			}
			nothingIn(t, scratch)
		})
	}
}

func TestCancelledWhilePulling(t *testing.T) {
	t.Parallel()
	h := made(t, []item{file("a", strings.Repeat("content ", 1000))})
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped by the operator")
	host := pushed(t, h, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, digestOf(zipped(h.layers[0]))) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(zipped(h.layers[0]))))
		_, _ = w.Write([]byte("\x1f\x8b"))
		_ = http.NewResponseController(w).Flush()
		cancel(stop)
		<-r.Context().Done()
		return true
	})
	c, err := image.Remote(t.Context(), host+"/some/thing:1", runtime.GOARCH, "")
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	began := time.Now()
	if _, err = image.Serve(ctx, c, nil, image.ServeOptions{Dir: scratch, Arch: runtime.GOARCH}); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	nothingIn(t, scratch)
	if _, err := image.Remote(ctx, host+"/some/thing:1", runtime.GOARCH, ""); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(scratch); err != nil {
		t.Errorf("the caller's folder: %v", err)
	}
}
