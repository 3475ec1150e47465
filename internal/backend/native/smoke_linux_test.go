package native

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

func TestSmoke(t *testing.T) {
	exe, _ := os.Executable()
	n, _ := bottle.ParseName("smoke")
	id, _ := bottle.NewID(n, rand.Reader)
	dir := t.TempDir()
	home := t.TempDir()
	began := time.Now()
	b, err := New(exe).Start(context.Background(), backend.Spec{ID: id, Dir: dir, Hostname: "smoke",
		Mounts: []backend.Mount{{Source: home, Target: "/home/agent", Writable: true}},
		Limits: backend.Limits{Memory: 1 << 30, PIDs: 200, CPUs: 1, Disk: 1 << 30, Tmp: 64 << 20},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(began))
	t.Logf("%+v", b.Report())
	script := os.Getenv("SCRIPT")
	if script == "" {
		script = "id; ls -la / /dev /etc /home/agent; cat /proc/self/status | tail -30; cat /proc/self/mountinfo; ls /proc; touch /home/agent/x; ip a; ulimit -a"
	}
	p, err := wire.Exec(context.Background(), b.Wire(), wire.Command{Argv: []string{"/bin/sh", "-c", script}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin:/usr/sbin", "HOME=/home/agent"}})
	if err != nil {
		t.Fatal(err)
	}
	p.Stdin.Close()
	go io.Copy(os.Stdout, p.Stderr)
	out, _ := io.ReadAll(p.Stdout)
	e, err := p.Wait()
	t.Log(string(out), e, err)
	began = time.Now()
	if err := b.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(began), b.Err())
}
