package selftest_test

import (
	"context"
	"crypto/rand"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/all"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/egress/authority"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/selftest"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// The test binary is its own cork.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == backend.CorkCommand {
		os.Exit(all.CorkMain(nil))
	}
	os.Exit(m.Run())
}

// The real thing: a native bottle, the egress engine over its ways out, cork's own probes.
func TestNativeBottleIsSealed(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name, err := bottle.ParseName("selftest")
	if err != nil {
		t.Fatal(err)
	}
	id, err := bottle.NewID(name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bait, err := selftest.Prepare(t.Context(), selftest.Options{Dir: dir, Limits: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bait.Close(); err != nil {
			t.Error(err)
		}
	})
	native, err := all.Get("native", exe)
	if err != nil {
		t.Fatal(err)
	}
	b, err := native.Start(t.Context(), backend.Spec{
		ID: id, Dir: dir, Hostname: "selftest",
		Mounts: []backend.Mount{
			{Source: t.TempDir(), Target: backend.Home, Writable: true},
			{Source: t.TempDir(), Target: backend.Workspace, Writable: true},
		},
		Limits: backend.Limits{PIDs: 200, Tmp: 64 << 20},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	defer serve(t, bait, b.Ways())()

	results, err := wire.Probe(t.Context(), b.Wire(), bait.Request())
	if err != nil {
		t.Fatal(err)
	}
	summary, err := selftest.Judge(results, bait)
	if err != nil {
		t.Error(err)
	}
	t.Log(summary)
	slow := slices.SortedFunc(slices.Values(results), func(a, b wire.ProbeResult) int { return int(b.Micros - a.Micros) })
	for _, p := range slow[:min(3, len(slow))] {
		t.Logf("%6d us %s: %s", p.Micros, p.Name, p.Attack)
	}
}

// serve runs an engine that allows nothing over ways until the returned function is called.
func serve(t *testing.T, bait *selftest.Bait, ways wire.Ways) (stop func()) {
	t.Helper()
	nothing, err := policy.Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	engine, err := egress.New(egress.Config{
		Policy: nothing, Authority: ca, Control: egress.Control{Host: selftest.ControlHost, Nonce: bait.Nonce()},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := engine.Serve(ctx, ways); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}
