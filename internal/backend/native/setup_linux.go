package native

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/jail"
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

// Bounds of a Spec; a bottle needs a handful of either.
const (
	maxMounts    = 256
	maxFilesSize = 32 << 20
)

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
	if s.ID.IsZero() {
		return jail.Spec{}, errors.New("the bottle has no id")
	}
	if len(s.Hostname) == 0 || len(s.Hostname) > 63 || strings.Trim(s.Hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != "" {
		return jail.Spec{}, fmt.Errorf("host name %q must be 1 to 63 letters, digits, hyphens and dots", s.Hostname)
	}
	if len(s.Mounts) > maxMounts {
		return jail.Spec{}, fmt.Errorf("%d mounts, at most %d are allowed", len(s.Mounts), maxMounts)
	}
	out := jail.Spec{Hostname: s.Hostname, Tmp: s.Limits.Tmp, UID: backend.AgentUID, GID: backend.AgentGID}
	seen := map[string]bool{}
	for _, m := range s.Mounts {
		if !path.IsAbs(m.Source) || path.Clean(m.Source) != m.Source {
			return jail.Spec{}, fmt.Errorf("mount source %q is not an absolute, clean path", m.Source)
		}
		if err := target(m.Target); err != nil {
			return jail.Spec{}, fmt.Errorf("mount of %s: %w", m.Source, err)
		}
		if seen[m.Target] {
			return jail.Spec{}, fmt.Errorf("two mounts at %s", m.Target)
		}
		seen[m.Target] = true
		out.Mounts = append(out.Mounts, jail.Mount{Source: m.Source, Target: m.Target, Writable: m.Writable})
	}
	slices.SortStableFunc(out.Mounts, func(a, b jail.Mount) int {
		return strings.Count(a.Target, "/") - strings.Count(b.Target, "/")
	})
	total := int64(0)
	for _, f := range s.Files {
		if err := target(f.Path); err != nil {
			return jail.Spec{}, fmt.Errorf("file: %w", err)
		}
		total += int64(len(f.Data))
		out.Files = append(out.Files, jail.File{Path: f.Path, Mode: f.Mode.Perm(), Size: int64(len(f.Data))})
	}
	if total > maxFilesSize {
		return jail.Spec{}, fmt.Errorf("files of %d bytes, at most %d are allowed", total, maxFilesSize)
	}
	return out, nil
}

// kernelFolders are whose content makes the seal; nothing may be put into them.
var kernelFolders = []string{"/proc", "/sys", "/dev"}

// target checks a path in the bottle.
func target(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%q is not an absolute, clean path below /", p)
	}
	for _, k := range kernelFolders {
		if p == k || strings.HasPrefix(p, k+"/") {
			return fmt.Errorf("%s lies in %s, which is the kernel's", p, k)
		}
	}
	return nil
}
