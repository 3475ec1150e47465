package native

import (
	"os"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// The test binary is its own cork.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == backend.CorkCommand {
		os.Exit(CorkMain())
	}
	os.Exit(m.Run())
}
