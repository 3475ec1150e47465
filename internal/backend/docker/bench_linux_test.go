package docker

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// transports are the two ways a wire goes, on one engine.
var transports = []kind{kinds[0], kinds[1]}

// benched starts a bottle for a benchmark; without an engine there is nothing to measure.
func benched(b *testing.B, k kind) backend.Bottle {
	b.Helper()
	if os.Getenv(k.host) == "" {
		b.Skipf("no engine: sudo scripts/engines up, then set %s", k.host)
	}
	id, err := bottle.ParseID("bench-00000")
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	for _, name := range []string{"state", "home", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	bottle, err := k.open("").Start(b.Context(), backend.Spec{
		ID: id, Dir: filepath.Join(dir, "state"), Hostname: "bench", System: k.system(), Cache: b.TempDir(),
		Mounts: []backend.Mount{
			{Source: filepath.Join(dir, "home"), Target: backend.Home, Writable: true},
			{Source: filepath.Join(dir, "work"), Target: backend.Workspace, Writable: true},
		},
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := bottle.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return bottle
}

// cat starts a program in the bottle that sends back what it gets: each byte crosses twice.
func cat(b *testing.B, bottle backend.Bottle) *wire.Process {
	b.Helper()
	// Not the benchmark's context, which has ended when its clean-up wants cat's end.
	p, err := wire.Exec(context.Background(), bottle.Wire(), wire.Command{Argv: []string{"/bin/cat"}, Env: []string{}, Dir: "/"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = p.Stdin.Close() // cat's end
		if _, err := p.Wait(); err != nil {
			b.Error(err)
		}
	})
	return p
}

func BenchmarkWireRoundTrip(b *testing.B) {
	for _, k := range transports {
		b.Run(k.name, func(b *testing.B) {
			p := cat(b, benched(b, k))
			buf := make([]byte, 100)
			for b.Loop() {
				if _, err := p.Stdin.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(p.Stdout, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWireThroughput(b *testing.B) {
	for _, k := range transports {
		b.Run(k.name, func(b *testing.B) {
			p := cat(b, benched(b, k))
			chunk := make([]byte, 1<<20)
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				sent := make(chan error, 1)
				go func() {
					_, err := p.Stdin.Write(chunk)
					sent <- err
				}()
				if _, err := io.CopyN(io.Discard, p.Stdout, int64(len(chunk))); err != nil {
					b.Fatal(err)
				}
				if err := <-sent; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
