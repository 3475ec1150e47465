package standin

import (
	"io"
	"net/http"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// Request is one request as it arrived.
type Request struct {
	Method string
	Path   string
	Query  string
	Host   string
	// Header is without the credential.
	Header http.Header
	// Scheme and Credential are what the client authenticated with; empty without.
	Scheme     string
	Credential secret.Value
	// Body is at most its first 256 KiB, and only what the answer needed to read.
	Body []byte
	// Status is what was answered.
	Status int
}

// maxKept bounds the part of a body that is remembered.
const maxKept = 256 << 10

// Seen returns the latest requests, the oldest first. Their bodies and headers are shared: read
// them only.
func (a *API) Seen() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

// Count is how many requests were answered in all.
func (a *API) Count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all
}

func (a *API) record(r Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all++
	if len(a.seen) >= a.cfg.Keep {
		a.seen = append(a.seen[:0], a.seen[1:]...)
	}
	a.seen = append(a.seen, r)
}

func withoutCredentials(h http.Header) http.Header {
	h = h.Clone()
	for _, name := range []string{"Authorization", "X-Api-Key", "Proxy-Authorization", "Cookie"} {
		h.Del(name)
	}
	return h
}

// keepReader remembers the beginning of what is read through it.
type keepReader struct {
	from io.ReadCloser
	kept []byte
}

func (k *keepReader) Read(p []byte) (int, error) {
	n, err := k.from.Read(p)
	k.kept = append(k.kept, p[:min(n, maxKept-len(k.kept))]...)
	return n, err
}

func (k *keepReader) Close() error { return k.from.Close() }

// statusWriter remembers the status, and passes flushes on.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController find the Flusher below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
