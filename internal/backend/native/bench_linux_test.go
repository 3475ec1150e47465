package native

import (
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// BenchmarkStart is the time from Start until a bottle is ready for its first program.
func BenchmarkStart(b *testing.B) {
	native, spec := New(self(b)), aSpec(b)
	spec.Mounts = append(spec.Mounts, backend.Mount{Source: b.TempDir(), Target: backend.Workspace, Writable: true})
	for b.Loop() {
		bottle, err := native.Start(b.Context(), spec, nil)
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
