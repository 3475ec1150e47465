//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// bounded is a context for a command that nothing here takes that long for.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	t.Cleanup(cancel)
	return ctx
}

// said collects what a command says while others look.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// mounted lays a file system over a folder for the time of the test, as only root can.
func mounted(t *testing.T, source, dir, kind string, flags uintptr, options string) {
	t.Helper()
	if err := unix.Mount(source, dir, kind, flags, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A process that ends still holds it after it let go of the lock that says it lives.
		var err error
		within(t, patience, "nobody uses "+dir+" any more", func() bool {
			err = unix.Unmount(dir, 0)
			return !errors.Is(err, unix.EBUSY)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A launch that there is no room for says so and leaves nothing; an agent whose records find no
// more room works on.
func TestNoRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		return // an ordinary user has no file system of their own to fill
	}
	t.Parallel()
	full := func(t *testing.T, size string) *home {
		h := shellHome(t)
		if err := os.Mkdir(h.path("state"), 0o700); err != nil {
			t.Fatal(err)
		}
		mounted(t, "tmpfs", h.path("state"), "tmpfs", 0, "mode=0700,size="+size)
		return h
	}
	t.Run("for a launch", func(t *testing.T) {
		t.Parallel()
		h := full(t, "4k")
		r := h.sh(t, "echo hi")
		if r.code != 1 || !strings.Contains(r.errors, "no space left on device") {
			t.Error(r)
		}
		h.settled(t) // there was no room to write the failure down
		if e := only(t, h); e.Alive || e.State.String() != "failed" {
			t.Errorf("list: %+v", e)
		}
	})
	t.Run("for the record", func(t *testing.T) {
		t.Parallel()
		h := full(t, "256k")
		r := h.sh(t, "head -c 3000000 /dev/urandom | base64; echo done")
		if r.code != 0 || !strings.HasSuffix(r.out, "done\n") {
			t.Errorf("%d: %s", r.code, r.errors)
		}
		list := entries(t, h)
		if len(list) != 1 && containers == nil { // a container's files leave room for the last word when they go
			t.Errorf("want one bottle: %+v", list)
		}
		for _, e := range list {
			if e.Alive || !e.State.Ended() {
				t.Errorf("list: %+v", e)
			}
		}
		if r := h.run(t, "cleanup", "--yes"); r.code != 0 {
			t.Errorf("cleanup: %v", r)
		}
		h.empty(t)
	})
}

// A home that can't be written to is named, with the way out.
func TestUnwritableHome(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	if os.Geteuid() == 0 {
		mounted(t, h.dir, h.dir, "", unix.MS_BIND, "")
		if err := unix.Mount("", h.dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	} else {
		if err := os.Chmod(h.dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Chmod(h.dir, 0o700); err != nil {
				t.Error(err)
			}
		})
	}
	for _, args := range [][]string{{"run", "sh", "--prompt", "true"}, {"list"}, {"start", "sh", "--yes", "--detach"}} {
		r := h.run(t, args...)
		if r.code != 1 || !strings.Contains(r.errors, h.dir) || !strings.Contains(r.errors, "read-only") && !strings.Contains(r.errors, "permission denied") {
			t.Errorf("%q: %v", args, r)
		}
	}
	if r := h.run(t, "start", "sh", "--dry-run"); r.code != 0 {
		t.Errorf("a dry run writes nothing and goes on: %v", r)
	}
}

// Without the agent's program and without npm there is a clear word and a way out.
func TestNoProgram(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.manifest(t, "agents/genius.md", "bottle: genius")
	h.manifest(t, "bottles/genius.md", "agent_provider: {template: claude}")
	r := h.run(t, "run", "genius", "--prompt", "x")
	if r.code != 1 || !strings.Contains(r.errors, "there is no credential for claude") || !strings.Contains(r.errors, "claude-bottle login claude") {
		t.Errorf("without a credential: %v", r)
	}
	h.env["ANTHROPIC_API_KEY"], h.env["PATH"] = tokenSecret, binDir
	r = h.run(t, "run", "genius", "--prompt", "x")
	if r.code != 1 || !strings.Contains(r.errors, "claude is not installed") || !strings.Contains(r.errors, "npm") || !strings.Contains(r.errors, "hint:  put claude on your PATH") {
		t.Errorf("without a program: %v", r)
	}
	if e := only(t, h); e.State.String() != "failed" || !strings.Contains(e.Reason, "claude is not installed") {
		t.Errorf("list: %+v", e)
	}
}

// Twenty at once get along: each has its own bottle, its own answer, and none is in another's way.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	const many = 20
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			want := fmt.Sprintf("number %d\ngood GET ok.test /twin/many 0", i)
			r := h.sh(t, fmt.Sprintf("echo number %d; curl -sS https://ok.test/twin/many; exit %d", i, i), "--quiet")
			if r.code != i || r.out != want || r.errors != "" {
				t.Errorf("number %d: %v", i, r)
			}
		})
	}
	all.Wait()
	for _, e := range entries(t, h) {
		if e.Alive || e.Problem != "" || !e.State.Ended() {
			t.Errorf("list: %+v", e)
		}
	}
}
