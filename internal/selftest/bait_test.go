package selftest_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/selftest"
)

func prepare(t *testing.T) *selftest.Bait {
	t.Helper()
	b, err := selftest.Prepare(t.Context(), selftest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestBaitsBiteAndRemember(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	if got := b.Touched(); len(got) != 0 {
		t.Errorf("the proof counts as contact: %v", got)
	}
	req := b.Request()
	if len(req.HostTCP) == 0 || !strings.HasPrefix(req.HostTCP[0], "127.0.0.1:") || len(req.HostFiles) != 1 || req.HostNonce == req.Nonce {
		t.Errorf("%+v", req)
	}
	type bait struct{ network, addr string }
	var all []bait
	for _, a := range req.HostTCP {
		all = append(all, bait{"tcp", a})
	}
	for _, a := range req.HostUnix {
		all = append(all, bait{"unix", a})
	}
	if runtime.GOOS == "linux" && len(req.HostUnix) != 2 {
		t.Errorf("unix baits: %v", req.HostUnix)
	}
	for _, x := range all {
		c, err := net.Dial(x.network, x.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
			t.Error(err)
		}
		got, err := io.ReadAll(c)
		_ = c.Close()
		if err != nil || !strings.Contains(string(got), req.HostNonce) {
			t.Errorf("%s answered %q, %v", x.addr, got, err)
		}
	}
	touched := b.Touched()
	if len(touched) != len(all) {
		t.Fatalf("touched: %v, want one for each of %v", touched, all)
	}
	for i, x := range all {
		if !strings.HasPrefix(touched[i], x.addr+" from ") {
			t.Errorf("contact %q is not of %s", touched[i], x.addr)
		}
	}
	// A bait that was touched refuses the launch, whatever the report says.
	if summary, err := selftest.Judge(sealed(), b); err == nil || summary.Leaks != len(all) {
		t.Errorf("%+v, %v", summary, err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, below string }{
		{"short path", "x"},
		{"a path longer than a socket's address", strings.Repeat("long/", 30)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), c.below)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			b, err := selftest.Prepare(t.Context(), selftest.Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			req := b.Request()
			if info, err := os.Stat(req.HostFiles[0]); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the bait file: %v, %v", info, err)
			}
			// One that never ends its talk must not keep Close waiting.
			idle, err := net.Dial("tcp", req.HostTCP[0])
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			for _, a := range req.HostTCP {
				if !bites(a, req.HostNonce) {
					t.Errorf("%s does not bite while it should", a)
				}
			}
			for range 2 {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			for _, path := range req.HostUnix {
				if !strings.HasPrefix(path, "@") {
					if _, err := os.Lstat(path); err == nil {
						t.Errorf("%s is left", path)
					}
				}
			}
			for _, a := range req.HostTCP {
				if bites(a, req.HostNonce) {
					t.Errorf("%s still bites", a)
				}
			}
		})
	}
}

// bites tells whether a bait with this nonce answers at addr. Another program may have been given
// the port by now, so that somebody listens says nothing.
func bites(addr, nonce string) bool {
	const hopeless = 10 * time.Second // a busy machine may be long about an answer
	c, err := net.DialTimeout("tcp", addr, hopeless)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(hopeless))
	got, _ := io.ReadAll(c)
	return strings.Contains(string(got), nonce)
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := selftest.Prepare(t.Context(), selftest.Options{Dir: dir, Listed: func(string) bool { return true }})
	if err == nil || !strings.Contains(err.Error(), "allows every name") {
		t.Errorf("a policy without limits: %v", err)
	}
	if _, err := selftest.Prepare(t.Context(), selftest.Options{Dir: filepath.Join(dir, "missing")}); err == nil {
		t.Error("a state folder that is not there")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := selftest.Prepare(ended, selftest.Options{Dir: dir}); err == nil {
		t.Error("a launch that was called off")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestPrepareChoosesAnUnlistedName(t *testing.T) {
	t.Parallel()
	b, err := selftest.Prepare(t.Context(), selftest.Options{
		Dir: t.TempDir(), ControlHost: "c.test", Nonce: "n",
		Listed: func(name string) bool { return name == "example.com" },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if req := b.Request(); req.Unlisted != "example.org" || req.ControlHost != "c.test" || b.Nonce() != "n" {
		t.Errorf("%+v", req)
	}
}

func BenchmarkPrepare(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		bait, err := selftest.Prepare(b.Context(), selftest.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if err := bait.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
