package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/claude-bottle/claude-bottle/internal/state"
)

// app is what the verbs share: the operating system and the global flags.
type app struct {
	sys      *System
	homeFlag string
}

// home returns the absolute folder of agents, bottles and state: flag, then environment, then the
// operator's home.
func (a *app) home() (string, error) {
	dir := a.homeFlag
	if dir == "" {
		dir = a.sys.getenv("CLAUDE_BOTTLE_HOME")
	}
	if dir == "" {
		home, err := a.sys.HomeDir()
		if err != nil {
			return "", withHint(fmt.Errorf("find your home folder: %w", err), "set HOME, or say --home <folder>")
		}
		dir = filepath.Join(home, ".claude-bottle")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("home folder %s: %w", dir, err)
	}
	return abs, nil
}

// store opens the state folders, making the root when it is missing.
func (a *app) store() (*state.Store, error) {
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	return state.Open(a.stateRoot(home))
}

func (a *app) stateRoot(home string) string { return filepath.Join(home, "state") }

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
