// Package all is the registry of backends: an explicit list, and the only importer of drivers.
package all

import (
	"fmt"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/docker"
	"github.com/claude-bottle/claude-bottle/internal/backend/native"
	"github.com/claude-bottle/claude-bottle/internal/backend/smolmachines"
)

// driver is what the registry knows about a backend without making one.
type driver struct {
	name  string
	open  func(exe string) backend.Backend
	facts func() backend.Facts
	cork  func(args []string) int
}

// drivers in the order they are shown; the first is the default.
var drivers = []driver{
	{native.Name, func(exe string) backend.Backend { return native.New(exe) }, native.Facts, func([]string) int { return native.CorkMain() }},
	{docker.Name, func(exe string) backend.Backend { return docker.New(exe) }, docker.Facts, docker.CorkMain},
	{smolmachines.Name, func(exe string) backend.Backend { return smolmachines.New(exe) }, smolmachines.Facts, smolmachines.CorkMain},
}

// Names returns the backends' names in the order to show them; the first is the default.
func Names() []string {
	names := make([]string, len(drivers))
	for i, d := range drivers {
		names[i] = d.name
	}
	return names
}

// Get returns the backend called name. exe is the absolute path of this program, which backends
// start again inside a bottle with the argument backend.CorkCommand.
func Get(name, exe string) (backend.Backend, error) {
	for _, d := range drivers {
		if d.name == name {
			return d.open(exe), nil
		}
	}
	return nil, fmt.Errorf("there is no backend %q; there is %s", name, strings.Join(Names(), ", "))
}

// Backends returns every backend; see Get.
func Backends(exe string) []backend.Backend {
	out := make([]backend.Backend, len(drivers))
	for i, d := range drivers {
		out[i] = d.open(exe)
	}
	return out
}

// Facts returns what is known about every backend on this host, by file reads alone.
func Facts() []backend.Facts {
	out := make([]backend.Facts, len(drivers))
	for i, d := range drivers {
		out[i] = d.facts()
	}
	return out
}

// CorkMain is what the program does when called with backend.CorkCommand: it is the first process of
// a bottle. The first of args names the driver whose bottle it is; with none it is a native one. It
// returns the exit code.
func CorkMain(args []string) int {
	for _, d := range drivers {
		if len(args) > 0 && d.name == args[0] {
			return d.cork(args)
		}
	}
	return drivers[0].cork(args)
}
