//go:build linux

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/backend/all"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// lively checks that the host still starts programs and that a second bottle still gets answers,
// which at rest takes a tenth of a second.
func lively(t *testing.T, second *sealed, during string) {
	t.Helper()
	began := time.Now()
	if r := second.home.run(t, "list", "--json"); r.code != 0 {
		t.Errorf("during %s, list: %v", during, r)
	}
	second.works(t, "-via", "connect", "https://ok.test/twin/f06")
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("during %s the host and a second bottle took %v", during, took)
	}
}

// enforced reports whether this host enforces a limit, and by what.
func enforced(limit string) string { return all.Facts()[0].Limits[limit].By }

// The rows take what they can of one machine, so they take turns.
func TestF06Exhaustion(t *testing.T) {
	h := newHome(t)
	second := h.bottle(t)
	second.works(t, "-via", "proxy", "http://ok.test/twin/f06")
	b := h.bottle(t)

	t.Run("fork bomb", func(t *testing.T) {
		done := make(chan amount, 1)
		go func() { done <- evil[amount](t, b, "forks", "100000", "1s") }()
		time.Sleep(200 * time.Millisecond) // in the middle of it
		lively(t, second, "a fork bomb")
		if a := <-done; a.Count < 20 || a.Count > 256 || a.Error != "EAGAIN" {
			t.Errorf("of 256 processes it started %+v", a)
		}
		if a := evil[amount](t, b, "forks", "20", "1ms"); a.Count != 20 || a.Error != "" {
			t.Errorf("benign twin, after it: %+v", a)
		}
	})
	t.Run("open files", func(t *testing.T) {
		if a := evil[amount](t, b, "files", "10000000"); a.Count < 1000 || a.Count > 1<<16 || a.Error != "EMFILE" {
			t.Errorf("it opened %+v", a)
		}
	})
	t.Run("tmp", func(t *testing.T) {
		for _, dir := range []string{"/tmp", "/dev/shm", "/run", "/var/tmp"} {
			if a := evil[amount](t, b, "fill", dir+"/much", "1000"); a.Count < 16 || a.Count > 64 || a.Error != "ENOSPC" {
				t.Errorf("of 64 MiB in %s it took %+v", dir, a)
			}
			if !podman() && !ownKernel() { // which bound bytes alone, as a bottle's report says
				if a := evil[amount](t, b, "inodes", dir, "1000000"); a.Count < 1000 || a.Count > 70000 || a.Error != "ENOSPC" {
					t.Errorf("in %s it made %+v files", dir, a)
				}
			}
			if a := evil[amount](t, b, "fill", dir+"/little", "4"); a.Count != 4 || a.Error != "" {
				t.Errorf("benign twin in %s: %+v", dir, a)
			}
		}
	})
	t.Run("ten thousand denials", func(t *testing.T) {
		done := make(chan amount, 1)
		go func() { done <- evil[amount](t, b, "burst", "http://c2.test/flood/", "10000", "32") }()
		lively(t, second, "a flood of denied requests")
		a := <-done
		t.Logf("%+v", a)
		if a.Count != 10000 {
			t.Errorf("of 10000 denials came %+v", a)
		}
		boundedAudit(t, b)
	})
	t.Run("memory", func(t *testing.T) { memoryHog(t, h, second) })
	t.Run("disk", func(t *testing.T) { diskHog(t, h, second) })
	t.Run("log", func(t *testing.T) { logFlood(t, h, second) })
}

// boundedAudit checks that a flood is counted to the last request and written as a few lines.
func boundedAudit(t *testing.T, b *sealed) {
	t.Helper()
	var lines, folded uint64
	within(t, patience, "all 10000 denials are accounted for", func() bool {
		lines, folded = 0, 0
		for _, e := range b.events(t) {
			switch {
			case e.Kind == audit.KindDropped:
				folded += e.Count
			case strings.HasPrefix(e.Path, "/flood/"):
				lines++
			}
		}
		return lines+folded >= 10000
	})
	if lines > 2500 || folded == 0 {
		t.Errorf("%d lines, %d folded", lines, folded)
	}
	if fi, err := os.Stat(filepath.Join(b.dir, state.AuditFile)); err != nil || fi.Size() > 2<<20 {
		t.Errorf("the audit log: %v, %v", fi, err)
	}
}

func memoryHog(t *testing.T, h *home, second *sealed) {
	by := enforced("memory")
	if by == "" {
		// Nothing holds the agent back here, which the operator must be told before they say yes.
		if r := h.run(t, "start", "evil", "--dry-run"); !strings.Contains(r.out, "memory") || !strings.Contains(r.out, "not enforced") {
			t.Errorf("nothing limits memory here, and the preflight does not say so: %v", r)
		}
		return
	}
	h.manifest(t, "bottles/small.md", strings.Replace(attackBottle, "memory: 1GiB", "memory: 128MiB", 1))
	b, err := h.open("--bottle", "small")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.close() }() // it may be dead already, which is told below
	if a := evil[amount](t, b, "memory", "32"); a.Count != 32 {
		t.Errorf("benign twin: %+v", a)
	}
	o, err := b.order(orderTime, nil, "/workspace/evil", "memory", "1024")
	lively(t, second, "a memory hog")
	if err == nil && (o.Code == 0 || strings.Contains(o.Stdout, "count")) {
		t.Errorf("1 GiB in a bottle of 128 MiB (%s): %+v", by, o)
	}
}

func diskHog(t *testing.T, h *home, second *sealed) {
	h.manifest(t, "bottles/tiny.md", strings.Replace(attackBottle, "disk: 1GiB", "disk: 64MiB", 1))
	b, err := h.open("--bottle", "tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.close() }() // it is to be dead
	if a := evil[amount](t, b, "fill", "/workspace/little", "16"); a.Count != 16 {
		t.Errorf("benign twin: %+v", a)
	}
	// It takes next to nothing, so that the meter has no say in it.
	if a := evil[amount](t, b, "span", "/workspace/one", "500"); a.Count > 64 || a.Error == "" {
		t.Errorf("one file of 500 MiB where 64 are allowed: %+v", a)
	}
	go func() { // its end is the bottle's
		_, _ = b.order(background, nil, "/bin/sh", "-c", "for i in 1 2 3 4 5 6; do head -c 20000000 /dev/zero > /workspace/$i; done; sleep 1000")
	}()
	select {
	case <-b.ended:
	case <-time.After(2 * patience): // a kernel of its own may write late, and the meter looks every ten seconds then
		t.Error("120 MB where 64 MiB are allowed, and nobody minds")
	}
	lively(t, second, "a full disk")
	if m, err := b.metadata(); err != nil || !strings.Contains(m.Reason, "over the disk limit") {
		t.Errorf("the reason is %q, %v", m.Reason, err)
	}
}

func logFlood(t *testing.T, h *home, second *sealed) {
	h.manifest(t, "bottles/loud.md", "agent_provider: {template: shell, command: [/workspace/evil, shout]}")
	mebibytes := 48
	if ownKernel() {
		mebibytes = 8 // it takes a second for each
	}
	done := make(chan result, 1)
	go func() {
		done <- h.run(t, "run", "evil", "--cwd", "--bottle", "loud", "--quiet", "--prompt", itoa(mebibytes))
	}()
	lively(t, second, "a flood of output")
	r := <-done
	if r.code != 0 || len(r.out) < mebibytes<<20 {
		t.Errorf("benign twin: a reader gets all of it: exit code %d, %d bytes, %s", r.code, len(r.out), r.errors)
	}
	casts, err := filepath.Glob(h.path("state/*/" + state.CastFile + "*"))
	if err != nil || len(casts) == 0 {
		t.Fatalf("recordings: %v, %v", casts, err)
	}
	for _, c := range casts {
		if fi, err := os.Stat(c); err != nil || fi.Size() > 80<<20 {
			t.Errorf("the recording %s: %v, %v", c, fi, err)
		}
	}
}
