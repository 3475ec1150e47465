package docker

import (
	"os"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/engine"
)

// Facts says whether bottles can run in a container engine, by reading files alone: which engine the
// docker command would use, and whether its socket is there and open to us. Which limits it can
// enforce only the engine knows; launch notes what it can't.
func Facts() backend.Facts {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // there are other places to look
	}
	w, err := engine.Find(os.LookupEnv, home)
	return factsOf(w, err)
}

func factsOf(w engine.Where, err error) backend.Facts {
	by := backend.Enforcement{By: "engine"}
	f := backend.Facts{Name: Name, OwnSystem: true, Runtimes: true, Limits: map[string]backend.Enforcement{
		"memory": by, "pids": by, "cpus": by, "disk": {By: "meter"}, "tmp": {By: "tmpfs"},
	}}
	if err != nil {
		f.Why, f.Fix = err.Error(), hint(err)
		return f
	}
	f.At = w.String()
	f.Why, f.Fix = w.Obstacle()
	f.Ready = f.Why == ""
	return f
}

// hint is what an error says to do.
func hint(err error) string {
	if h, ok := err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	return ""
}
