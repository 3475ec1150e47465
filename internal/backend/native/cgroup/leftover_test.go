//go:build linux

package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A group of another home's bottle must not be taken for nobody's.
func TestIdleIsEmptyAndOld(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		procs string
		age   time.Duration
		want  bool
	}{
		"empty and old":        {"", time.Hour, true},
		"empty and young":      {"", time.Second, false},
		"old with a process":   {"42\n", time.Hour, false},
		"young with a process": {"42\n", 0, false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(c.procs), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, now.Add(-c.age), now.Add(-c.age)); err != nil {
			t.Fatal(err)
		}
		if got := Idle(dir, now); got != c.want {
			t.Errorf("%s: idle is %t", name, got)
		}
	}
	if Idle(filepath.Join(t.TempDir(), "gone"), now) {
		t.Error("a group that is not there is idle")
	}
}
