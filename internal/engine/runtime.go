package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// gvisor is the name gVisor's runtime registers by.
const gvisor = "runsc"

// RuntimeError says that a runtime the bottle insists on can't be had.
type RuntimeError struct {
	Want string
	info Info
}

// Error names what there is.
func (e *RuntimeError) Error() string {
	if e.info.Kind == Podman {
		return fmt.Sprintf("runtime %q: Podman runs every container that is made through the Docker API with its default, %s", e.Want, e.info.DefaultRuntime)
	}
	return fmt.Sprintf("runtime %q is not registered with the engine, which has %s", e.Want, strings.Join(e.info.Runtimes, ", "))
}

// Hint says how to register it.
func (e *RuntimeError) Hint() string {
	if e.info.Kind == Podman {
		return fmt.Sprintf("make it the default: [engine] runtime = %q in containers.conf, then restart the service; or leave runtime: out of the bottle", e.Want)
	}
	if e.Want == gvisor {
		return "install gVisor, then: sudo runsc install && sudo systemctl restart docker; or leave runtime: out of the bottle"
	}
	return fmt.Sprintf(`register it: {"runtimes": {%q: {"path": "/path/of/it"}}} in /etc/docker/daemon.json, then: sudo systemctl restart docker; or leave runtime: out of the bottle`, e.Want)
}

// PickRuntime chooses what a container runs with: want when it is not empty, and a *RuntimeError
// where the engine has no such runtime; else gVisor where the engine has it; else "", the engine's
// default.
func (i Info) PickRuntime(want string) (string, error) {
	switch {
	case want != "" && !slices.Contains(i.Runtimes, want):
		return "", &RuntimeError{Want: inert.Text(want, 64), info: i}
	case want != "":
		return want, nil
	case slices.Contains(i.Runtimes, gvisor):
		return gvisor, nil
	}
	return "", nil
}
