package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

var listAll = client.ContainerListOptions{All: true}

// answer serves HTTP on a socket and returns where.
func answer(t *testing.T, h http.HandlerFunc) Where {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(shortDir(t), "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return Where{Host: "unix://" + l.Addr().String(), From: "default"}
}

// Engines that can't be had here, spoken by the bytes that matter.
func TestAnswersOfOtherEngines(t *testing.T) {
	t.Parallel()
	ping := func(version, os string) http.Header {
		return http.Header{"Api-Version": {version}, "Ostype": {os}}
	}
	for name, c := range map[string]struct {
		header http.Header
		status int // of everything but the ping
		info   system.Info
		reason Reason
		words  []string
	}{
		"too old":                {ping("1.39", "linux"), 200, system.Info{OSType: "linux"}, TooOld, []string{"version 1.39", "at least 1.40", "19.03"}},
		"Windows containers":     {ping("1.41", "windows"), 200, system.Info{OSType: "windows"}, NotLinux, []string{`"windows"`, "Linux containers"}},
		"a web server":           {nil, 200, system.Info{}, NotEngine, []string{"no container engine"}},
		"a filtering proxy":      {ping("1.41", "linux"), 403, system.Info{}, NotEngine, []string{"403", "docker version"}},
		"a version of hostility": {ping("\xff1.x", "linux"), 200, system.Info{}, NotEngine, []string{"does not answer as"}},
	} {
		w := answer(t, func(rw http.ResponseWriter, r *http.Request) {
			for k, v := range c.header {
				rw.Header()[k] = v
			}
			if r.URL.Path == "/_ping" {
				return
			}
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(c.status)
			_ = json.NewEncoder(rw).Encode(c.info) // the client may be gone
		})
		_, err := Connect(t.Context(), w)
		t.Log(name+":", err)
		refused(t, err, c.reason, append(c.words, w.Host)...)
	}
}

// Nobody is waited for without end.
func TestEngineThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hangs := answer(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	deaf := Where{Host: "unix://" + listen(t, filepath.Join(shortDir(t), "s"))}
	for _, w := range []Where{hangs, deaf} {
		began := time.Now()
		_, err := connect(t.Context(), w, 200*time.Millisecond)
		refused(t, err, NoAnswer, "no answer within 200ms", "docker version")
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("took %v", took)
		}
	}
	stopped := errors.New("bottle stopped by user")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(stopped) })
	if _, err := Connect(ctx, hangs); !errors.Is(err, stopped) || errors.Is(err, ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
}
