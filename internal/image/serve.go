package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ServeOptions are what Serve needs beside the image.
type ServeOptions struct {
	// Dir is the scratch folder, made (0700) when missing. What is put there has no name and goes
	// with Close, or with this process.
	Dir string
	// Arch is the machine's processor in Go's words: an image for another is refused.
	Arch string
	// Progress gets a line a second while something takes that long; nil for none.
	Progress progress.Sink
}

// Registry is a registry on loopback that has one image, of one layer.
//
// It has what a push of the image would have put into it, and is made with it: a push to ourselves
// would write the layer a second time, and leave a registry that takes uploads from whoever is on
// this host. This one takes none. Who knows the image's digest can read it, as long as it runs;
// nothing here tells the digest.
type Registry struct {
	ref    string
	server *http.Server
	layer  *os.File
	served chan struct{}
	using  sync.RWMutex // held for reading by whoever reads from the layer
	closed bool
}

// Serve squashes c to one layer with extra laid over it, and serves that at a registry on
// 127.0.0.1 until Close. The layer is what a container made from the image would see. The same
// content makes the same digest. When ctx ends before Serve returns, nothing is left and the error
// wraps its cause; afterwards it counts no more.
func Serve(ctx context.Context, c Content, extra []Extra, o ServeOptions) (*Registry, error) {
	r, err := serve(ctx, c, extra, o)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("image %s: %w", c.Ref, context.Cause(ctx))
	}
	return r, err
}

func serve(ctx context.Context, c Content, extra []Extra, o ServeOptions) (*Registry, error) {
	if c.Arch != o.Arch {
		return nil, wrongArch(c.Ref, o.Arch, []string{"linux/" + c.Arch})
	}
	s := &supply{ref: c.Ref, dir: o.Dir, sink: o.Progress}
	for _, x := range extra { // before minutes of work
		f, info, err := x.open()
		if err != nil {
			return nil, err
		}
		_ = f.Close() // it was only looked at
		s.need += info.Size()
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("image %s: %w", c.Ref, err)
	}
	l, err := c.open(ctx, s)
	if err != nil {
		return nil, err
	}
	q, err := s.squash(ctx, l, extra)
	l.close()
	if err != nil {
		return nil, err
	}
	// Whoever is asked for the address of a name gets none: 127.0.0.1 is this host and nobody else.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		_ = q.layer.Close() // it goes with it
		return nil, fmt.Errorf("serve the image %s: %w", c.Ref, err)
	}
	address := listener.Addr().String()
	r := &Registry{
		ref:   address + "/" + Repository + "@" + digestOfBytes(q.manifest),
		layer: q.layer, served: make(chan struct{}),
		server: &http.Server{
			ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
			MaxHeaderBytes: 64 << 10, ErrorLog: log.New(io.Discard, "", 0),
		},
	}
	parts := q.handler(address)
	r.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.using.RLock()
		defer r.using.RUnlock()
		if !r.closed {
			parts.ServeHTTP(w, req)
		}
	})
	go func() {
		defer close(r.served)
		_ = r.server.Serve(listener) // until Close
	}()
	return r, nil
}

// Ref is the name to pull the image by: "127.0.0.1:40123/claude-bottle@sha256:…".
func (r *Registry) Ref() string { return r.ref }

// Close ends the registry and whoever still reads from it, and frees the disk. Closing twice is no
// error.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.served
	_ = r.server.Close() // again, for a connection that was just being accepted
	// The server does not wait for those that it cut off, and the disk is free when the last is gone.
	r.using.Lock()
	defer r.using.Unlock()
	r.closed = true
	if lerr := r.layer.Close(); err == nil && !errors.Is(lerr, os.ErrClosed) {
		err = lerr
	}
	return err
}

// handler serves the three parts by their digests, and nothing else.
func (q *squashed) handler(address string) http.Handler {
	type part struct {
		kind    types.MediaType
		digest  string
		content io.ReaderAt
		size    int64
	}
	parts := map[string]part{}
	add := func(under, digest string, kind types.MediaType, content io.ReaderAt, size int64) {
		parts["/v2/"+Repository+"/"+under+"/"+digest] = part{kind, digest, content, size}
	}
	add("manifests", digestOfBytes(q.manifest), types.OCIManifestSchema1, bytes.NewReader(q.manifest), int64(len(q.manifest)))
	add("blobs", digestOfBytes(q.config), "application/octet-stream", bytes.NewReader(q.config), int64(len(q.config)))
	add("blobs", q.layerDigest, "application/octet-stream", q.layer, q.size)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		p, ok := parts[r.URL.Path]
		switch {
		case r.Host != address: // a page in a browser that got a name of its own pointed here
			refuse(w, http.StatusForbidden, "DENIED", "this registry goes by another name")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry takes nothing")
		case r.URL.Path == "/v2/" || r.URL.Path == "/v2":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{}") // who went away needs no answer
		case !ok && strings.Contains(r.URL.Path, "/manifests/"):
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "the image goes by its digest alone")
		case !ok:
			refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "no such part")
		default:
			w.Header().Set("Content-Type", string(p.kind))
			w.Header().Set("Docker-Content-Digest", p.digest)
			w.Header().Set("Etag", `"`+p.digest+`"`)
			http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(p.content, 0, p.size))
		}
	})
}

// refuse answers as registries do.
func refuse(w http.ResponseWriter, status int, code, text string) {
	type problem struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]problem{"errors": {{code, text}}}) // who went away needs no answer
}
