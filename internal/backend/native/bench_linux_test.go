package native

import (
	"crypto/rand"
	"os"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// BenchmarkStart is the time from Start until a bottle is ready for its first program.
func BenchmarkStart(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	name, err := bottle.ParseName("bench")
	if err != nil {
		b.Fatal(err)
	}
	dir, home, work := b.TempDir(), b.TempDir(), b.TempDir()
	native := New(exe)
	for b.Loop() {
		id, err := bottle.NewID(name, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		bottle, err := native.Start(b.Context(), backend.Spec{
			ID: id, Dir: dir, Hostname: "bench",
			Mounts: []backend.Mount{
				{Source: home, Target: backend.Home, Writable: true},
				{Source: work, Target: backend.Workspace, Writable: true},
			},
			Limits: backend.Limits{Memory: 1 << 30, PIDs: 200, CPUs: 2, Disk: 1 << 30, Tmp: 64 << 20},
		}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := bottle.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
