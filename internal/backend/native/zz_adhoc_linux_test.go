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

func TestAdhoc(t *testing.T) {
	script := os.Getenv("SCRIPT")
	if script == "" {
		return
	}
	exe, _ := os.Executable()
	n, _ := bottle.ParseName("smoke")
	id, _ := bottle.NewID(n, rand.Reader)
	home := t.TempDir()
	work := t.TempDir()
	b, err := New(exe).Start(context.Background(), backend.Spec{ID: id, Dir: t.TempDir(), Hostname: "smoke",
		Mounts: []backend.Mount{{Source: home, Target: "/home/agent", Writable: true}, {Source: work, Target: "/workspace", Writable: true},
			{Source: "/tmp/npm", Target: "/opt/claude-bottle/npm"}},
		Limits: backend.Limits{Memory: 4 << 30, PIDs: 1024, CPUs: 2, Disk: 10 << 30, Tmp: 1 << 30},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p, err := wire.Exec(context.Background(), b.Wire(), wire.Command{Argv: []string{"/bin/bash", "-c", script}, Dir: "/workspace", TTY: os.Getenv("TTY") != "", Rows: 24, Cols: 80, Env: []string{"PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin", "HOME=/home/agent", "LANG=C.UTF-8", "TERM=xterm-256color"}})
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("TTY") == "" {
		p.Stdin.Close()
	}
	go io.Copy(os.Stdout, p.Stderr)
	io.Copy(os.Stdout, p.Stdout)
	e, err := p.Wait()
	t.Log(e, err, time.Since(began))
	b.Stop(context.Background())
}
