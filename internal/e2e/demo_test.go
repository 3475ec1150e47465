//go:build linux

package e2e_test

import (
	"os"
	"strings"
	"testing"
)

// The first thing that a newcomer types shows what it promises: it fails where the agent does something else,
// or the world answers otherwise, than it says.
func TestDemo(t *testing.T) {
	t.Parallel()
	onlyNative(t, "it makes a native bottle, unless it is told otherwise")
	h := newHome(t)
	h.env["PATH"] = programsBin + ":" + os.Getenv("PATH")
	r := h.run(t, "demo")
	if r.code != 0 || r.errors != "" {
		t.Errorf("demo: %v", r)
	}
	for _, want := range []string{"The agent is Claude Code", "all permissions granted", "The credential the model's API saw", "With anything else: 0.", "no process, no mount, no file of it is left"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if left, err := os.ReadDir(h.path("state")); len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
