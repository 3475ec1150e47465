package backend_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// An engine of another processor, or any engine of a host that isn't Linux, runs the program beside
// ours that is named for it.
func TestCorkIsTheProgramForTheBottlesProcessor(t *testing.T) {
	t.Parallel()
	exe := filepath.Join(t.TempDir(), "claude-bottle")
	beside := exe + "-linux-riscv64"
	_, err := backend.CorkFor(exe, "riscv64")
	missing, ok := errors.AsType[*backend.NoCorkError](err)
	if !ok || !strings.Contains(missing.Error(), "linux/riscv64") || !strings.Contains(missing.Hint(), "GOARCH=riscv64") || !strings.Contains(missing.Hint(), beside) {
		t.Errorf("without it: %v", err)
	}
	if err := os.WriteFile(beside, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := backend.CorkFor(exe, "riscv64"); err != nil || got != beside {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := backend.CorkFor(exe, runtime.GOARCH); runtime.GOOS == "linux" && (err != nil || got != exe) {
		t.Errorf("our own: %q, %v", got, err)
	}
}
