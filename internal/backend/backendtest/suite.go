// Package backendtest is the conformance suite of backends: what package backend promises, and the
// escapes a bottle must withstand, as rows any driver passes. A security row comes with its benign
// twin, so that a bottle in which nothing works doesn't pass.
//
// A driver's test binary is its own cork, its own attacker and the process that is killed; its
// TestMain is therefore
//
//	func TestMain(m *testing.M) { os.Exit(backendtest.Main(m, cork, open)) }
//
// and the suite runs as
//
//	func TestBackend(t *testing.T) { backendtest.Run(t, backendtest.Config{Open: open}) }
package backendtest

import (
	"fmt"
	"os"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// Config says what is tested.
type Config struct {
	// Open returns the backend; exe is the path of a program that is its cork when started with
	// backend.CorkCommand.
	Open func(exe string) backend.Backend
	// Enforced has the limits the host lets the backend enforce, as in backend.Facts: rows about
	// others check that the report says so.
	Enforced map[string]backend.Enforcement
	// System is what bottles of a system of their own are made from. It has sh, git, curl, procps
	// and python3.
	System backend.System
	// Carried says that folders are copied into the bottle and out of it again at its end, instead
	// of being shown there.
	Carried bool
	// Nested says that mounts may lie in mounts also where folders are carried.
	Nested bool
	// PIDSlack is how many processes more than asked for a bottle may have, where they are counted
	// together with cork's.
	PIDSlack int
	// OwnKernel says that bottles run on a kernel that is not Linux (gVisor's): its network is narrow
	// (wire.Ways), it has no Landlock, and the memory limit ends all of the bottle.
	OwnKernel bool
}

// blind reports whether nothing but plain files is seen from both sides: pipes and sockets have their
// other end in another kernel, or nowhere.
func (c Config) blind() bool { return c.Carried || c.OwnKernel }

// own reports whether bottles have a system of their own.
func (c Config) own() bool { return c.System.Ref != "" }

// row is one claim.
type row struct {
	name string
	test func(*testing.T, Config)
}

// rows are all claims, by what they are about.
var rows = map[string][]row{
	"life":    lifeRows,
	"files":   fileRows,
	"network": networkRows,
	"kernel":  kernelRows,
	"limits":  limitRows,
}

// Run runs the suite.
func Run(t *testing.T, c Config) {
	for topic, list := range rows {
		t.Run(topic, func(t *testing.T) {
			for _, r := range list {
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					r.test(t, c)
				})
			}
		})
	}
}

// Arguments a driver's test binary is started with by the suite.
const (
	attackCommand = "attack"
	holdCommand   = "hold"
)

// Main is what a driver's TestMain returns the result of. cork is the driver's, with the arguments
// behind its command; open as in Config.
func Main(m *testing.M, cork func(args []string) int, open func(exe string) backend.Backend) int {
	if len(os.Args) < 2 {
		return m.Run()
	}
	switch os.Args[1] {
	case backend.CorkCommand:
		return cork(os.Args[2:])
	case attackCommand:
		if err := attack(os.Args[2:]); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	case holdCommand:
		if err := hold(open, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	return m.Run()
}
