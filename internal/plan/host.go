package plan

import (
	"io"
	"io/fs"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// Request is what the operator asked for.
type Request struct {
	Agent string
	// Bottles are laid over one another in order; none means the agent's own.
	Bottles []string
	// Backend is the one to use; empty means the first that is ready.
	Backend string
	Label   string // one line of visible text, at most 60 characters
	Color   string // one of Colors
	Prompt  string
	// Headless runs the prompt to its end without a terminal.
	Headless bool
	// Cwd is the absolute path of the folder the bottle gets a copy of; empty for none.
	Cwd string
	// Args are for the agent program.
	Args []string
}

// Host is what Build may know of the machine. Zero fields are things the machine doesn't have.
type Host struct {
	// LookupEnv is asked whether a variable is set, and what it says is forgotten at once.
	LookupEnv func(name string) (string, bool)
	// Logins are the names of the stored credentials.
	Logins []string
	// Backends are the facts of all backends, the preferred one first.
	Backends []backend.Facts
	// Skills is the tree of the operator's skills, SkillsPath its absolute path.
	Skills     fs.FS
	SkillsPath string
	// Home is the operator's home folder: "~" in manifests, and what must not be copied whole.
	Home string
	// ReadFile reads the files that bottles name: certificates, Dockerfiles, credential shapes. It is
	// not given files of a repository.
	ReadFile func(path string) ([]byte, error)
	// Random makes the bottle's ID and placeholders; crypto/rand.Reader.
	Random io.Reader
}

// value is what the host has for a variable; empty when it has nothing. Of a credential only that it is
// there is anybody's business.
func (h Host) value(name string) string {
	if h.LookupEnv == nil {
		return ""
	}
	if v, ok := h.LookupEnv(name); ok {
		return v
	}
	return ""
}

// has reports whether the host has a value for a variable.
func (h Host) has(name string) bool {
	return h.value(name) != ""
}
