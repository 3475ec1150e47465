package backendtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// WithProgram builds our program as it is shipped, without the C library that a race detector needs,
// names it in a variable for tests and their processes, and returns what tests do.
func WithProgram(variable string, tests func() int) int {
	dir, err := os.MkdirTemp("", "claude-bottle-cork-")
	if err == nil {
		err = build(filepath.Join(dir, "claude-bottle"))
	}
	if err == nil {
		err = os.Setenv(variable, filepath.Join(dir, "claude-bottle"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := tests()
	_ = os.RemoveAll(dir) // of no use any more
	return code
}

func build(to string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to, "github.com/claude-bottle/claude-bottle/cmd/claude-bottle")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build our program: %w: %s", err, out)
	}
	return nil
}
