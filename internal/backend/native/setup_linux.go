package native

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/jail"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Descriptors cork is started with.
const (
	wireFD = 3 // the unix socket: setup and report, then the wire
	exeFD  = 4 // the program it was started from
)

// setup is the first message, holder to cork. The files' blob comes with it; the mounts follow, a
// handful a message.
type setup struct {
	Jail jail.Spec
	// PIDs is the soft limit on the agent's processes, by rlimit; 0 for none.
	PIDs uint64
	// Disk bounds a single file the agent writes, in bytes; 0 for nothing.
	Disk uint64
	// Trees is how many mounts follow.
	Trees int
}

// report is cork's answer: what went wrong, or the sockets with it.
type report struct {
	Failed   string `json:",omitempty"`
	Landlock int
	Notes    []string
}

// treesAtOnce is how many mounts go with one message.
const treesAtOnce = 16

func sendTrees(c *net.UnixConn, trees []*os.File) error {
	for part := range slices.Chunk(trees, treesAtOnce) {
		if err := wire.SendFiles(c, struct{}{}, part...); err != nil {
			return err
		}
	}
	return nil
}

func receiveTrees(c *net.UnixConn, n int) (trees []*os.File, err error) {
	for len(trees) < n {
		part, err := wire.RecvFiles(c, &struct{}{})
		trees = append(trees, part...)
		if err == nil && len(part) == 0 {
			err = errors.New("fewer mounts came than were announced")
		}
		if err != nil {
			return trees, err
		}
	}
	return trees, nil
}

// plan turns a Spec into what cork builds, in the order it builds it, and refuses what can't be.
func plan(s backend.Spec) (jail.Spec, error) {
	if err := s.Check(); err != nil {
		return jail.Spec{}, err
	}
	out := jail.Spec{Hostname: s.Hostname, Tmp: s.Limits.Tmp, UID: backend.AgentUID, GID: backend.AgentGID}
	for _, m := range s.Mounts {
		out.Mounts = append(out.Mounts, jail.Mount{Source: m.Source, Target: m.Target, Writable: m.Writable})
	}
	slices.SortStableFunc(out.Mounts, func(a, b jail.Mount) int {
		return strings.Count(a.Target, "/") - strings.Count(b.Target, "/")
	})
	for _, f := range s.Files {
		out.Files = append(out.Files, jail.File{Path: f.Path, Mode: f.Mode.Perm(), Size: int64(len(f.Data))})
	}
	return out, nil
}
