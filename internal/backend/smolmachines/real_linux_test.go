package smolmachines

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/smolvm"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// realVariable names a real smolvm, on a host that boots guests. See docs/SMOLMACHINES.md.
const realVariable = "CLAUDE_BOTTLE_TEST_REAL_SMOLVM"

// The journey over a real smolvm: everything that the stand-in can only suppose.
func TestRealSmolvm(t *testing.T) {
	path := os.Getenv(realVariable)
	if path == "" {
		t.Skip("it takes a host that boots guests: docs/SMOLMACHINES.md, \"Proving it on a real host\"")
	}
	dir, err := os.MkdirTemp("", "cb-real-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	vars := map[string]string{
		smolvm.ProgramVariable: path, smolvm.DataVariable: filepath.Join(dir, "data"), "HOME": os.Getenv("HOME"),
		"XDG_CACHE_HOME": filepath.Join(dir, "cache"), "DOCKER_HOST": os.Getenv(engineVariable),
	}
	for _, stdio := range []bool{false, true} {
		name := map[bool]string{false: "socket", true: "stdio"}[stdio]
		t.Run(name, func(t *testing.T) {
			b := &Backend{exe: os.Getenv(corkVariable), stdio: stdio, env: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}
			journey(t, b, stdio)
		})
	}
}

func journey(t *testing.T, b *Backend, stdio bool) {
	work := t.TempDir()
	spec := backend.Spec{
		ID: newID(t), Dir: t.TempDir(), Hostname: "bottle", System: base(), Cache: t.TempDir(),
		Mounts: []backend.Mount{{Source: t.TempDir(), Target: backend.Home, Writable: true}, {Source: work, Target: backend.Workspace, Writable: true}},
		Limits: backend.Limits{PIDs: 256, Memory: 1 << 30, CPUs: 1, Tmp: 64 << 20},
	}
	began := time.Now()
	bottle, err := b.Start(t.Context(), spec, func(line string) { t.Logf("%6.2f s  %s", time.Since(began).Seconds(), line) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%6.2f s  started: %+v", time.Since(began).Seconds(), bottle.Report())
	ended := false
	t.Cleanup(func() {
		if err := bottle.Stop(context.Background()); err != nil && !ended {
			t.Error(err)
		}
		removeLeft(t, b)
	})
	if got := sh(t, bottle, "cat /proc/net/dev | tail -n +3 | cut -d: -f1; id -u; cat /proc/sys/kernel/osrelease"); !strings.HasPrefix(strings.TrimSpace(got), "lo\n") {
		t.Errorf("its network devices, user and kernel are %q", got)
	}
	if notes := strings.Join(bottle.Report().Notes, "\n"); strings.Contains(notes, "slower than a socket") != stdio {
		t.Errorf("the wire goes the other way: %s", notes)
	}
	resizes(t, bottle)
	connections(t, bottle)
	throughput(t, bottle)
	tool, _, err := b.tool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := tool.Exec(t.Context(), machineName(spec.ID), "/no/such/program").CombinedOutput()
	t.Logf("a program that is not there: %v: %s", err, out)
	sh(t, bottle, "echo came home > /workspace/word; echo a > /workspace/CASE; echo b > /workspace/case")
	// smolvm's own command is killed: the bottle ends, and its files come home.
	ended = true
	if err := bottle.(*Bottle).start.exec.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-bottle.Done():
		t.Logf("ended: %v", bottle.Err())
	case <-time.After(time.Minute):
		t.Fatal("its command was killed, and the bottle goes on")
	}
	if text, err := os.ReadFile(filepath.Join(work, "word")); err != nil || string(text) != "came home\n" {
		t.Errorf("the workspace holds %q, %v", text, err)
	}
}

func removeLeft(t *testing.T, b *Backend) {
	t.Helper()
	left, err := b.Found(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, l := range left {
		t.Errorf("left behind: %+v", l)
		if err := b.Remove(context.Background(), l.ID); err != nil {
			t.Error(err)
		}
	}
}

func resizes(t *testing.T, b backend.Bottle) {
	t.Helper()
	p, err := wire.Exec(t.Context(), b.Wire(), wire.Command{
		Argv: []string{"/bin/sh", "-c", "stty size; read _; stty size"}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/", TTY: true, Rows: 24, Cols: 80,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Resize(50, 132); err != nil {
		t.Error(err)
	}
	_, _ = io.WriteString(p.Stdin, "\n") // its answer tells
	out, _ := io.ReadAll(p.Stdout)
	if _, err := p.Wait(); err != nil || !strings.Contains(string(out), "50 132") {
		t.Errorf("a resized terminal says %q, %v", out, err)
	}
}

// connections makes many of them at once, out of the bottle.
func connections(t *testing.T, b backend.Bottle) {
	t.Helper()
	const many = 200
	began := time.Now()
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			c, err := b.Ways().Proxy.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			_, err = io.Copy(c, io.LimitReader(c, 5))
			if err := errors.Join(err, c.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	sh(t, b, `python3 - <<'PY'
import socket
many = [socket.create_connection(("127.0.0.1", 3128)) for _ in range(200)]
for s in many: s.sendall(b"hello")
for s in many:
    got = b""
    while len(got) < 5: got += s.recv(5)
    assert got == b"hello"
PY`)
	all.Wait()
	t.Logf("%d connections at once: %.2f s", many, time.Since(began).Seconds())
}

func throughput(t *testing.T, b backend.Bottle) {
	t.Helper()
	began := time.Now()
	p, err := wire.Exec(t.Context(), b.Wire(), wire.Command{Argv: []string{"/usr/bin/head", "-c", "104857600", "/dev/zero"}, Env: []string{}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := io.Copy(io.Discard, p.Stdout) // Wait tells about errors
	if _, err := p.Wait(); err != nil || n != 100<<20 {
		t.Errorf("%d bytes came, %v", n, err)
	}
	t.Logf("out of the machine: %.0f MB/s", float64(n)/1e6/time.Since(began).Seconds())
}
