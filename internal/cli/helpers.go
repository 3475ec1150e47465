package cli

import (
	"context"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/all"
	"github.com/claude-bottle/claude-bottle/internal/launch"
)

// helper returns the main function of a verb that only we ourselves start, nil for any other. It
// has no flags, no help and no line in the list of commands.
func helper(verb string) func(args []string) int {
	switch verb {
	case backend.CorkCommand:
		return all.CorkMain
	case launch.Verb:
		return func(args []string) int { return launch.WardenMain(context.Background(), args) }
	}
	return nil
}
