package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/all"
)

// backendFacts is what is known about every backend by reading files alone.
func (a *app) backendFacts() []backend.Facts { return all.Facts() }

// backends returns every backend, ready to find what it left.
func (a *app) backends() ([]backend.Backend, error) {
	exe, err := a.sys.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own program: %w", err)
	}
	return all.Backends(exe), nil
}

// backendName is the backend asked for by flag, then by environment; empty leaves it to the plan.
func (a *app) backendName(flag string) (string, error) {
	name, from := flag, "--backend"
	if name == "" {
		name, from = a.sys.getenv("CLAUDE_BOTTLE_BACKEND"), "CLAUDE_BOTTLE_BACKEND"
	}
	if name == "" {
		return "", nil
	}
	return name, oneOf("backend in "+from+":", name, all.Names()...)
}

func (a *app) completeBackends(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return all.Names(), cobra.ShellCompDirectiveNoFileComp
}
