package native

import (
	"os"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/backendtest"
)

func open(exe string) backend.Backend { return New(exe) }

// The test binary is its own cork and its own attacker.
func TestMain(m *testing.M) {
	os.Exit(backendtest.Main(m, func([]string) int { return CorkMain() }, open))
}
