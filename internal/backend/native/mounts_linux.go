package native

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend/idmap"
	"github.com/claude-bottle/claude-bottle/internal/backend/jail"
)

// opened is what openMounts comes back with.
type opened struct {
	trees []*os.File
	err   error
}

// openMounts opens the mounts when the holder is root: the paths may lie in folders nobody else
// enters, and writable ones must show root's files as the agent's. An ordinary user's cork does
// all that itself, as that user.
func (s *start) openMounts() (o opened) {
	if !s.owner.root {
		return o
	}
	users := map[[2]int]*os.File{}
	defer func() {
		for _, f := range users {
			_ = f.Close() // the mounts hold on to the namespace
		}
	}()
	for i := range s.jail.Mounts {
		m := &s.jail.Mounts[i]
		attrs := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		var ns *os.File
		if m.Writable {
			var err error
			if ns, err = s.usersFor(m.Source, users); err != nil {
				return opened{o.trees, err}
			}
		} else {
			attrs |= unix.MOUNT_ATTR_RDONLY
		}
		tree, err := idmap.Clone(m.Source, attrs, ns)
		if err != nil {
			return opened{o.trees, err}
		}
		m.Passed = true
		o.trees = append(o.trees, tree)
	}
	return o
}

// usersFor returns the namespace that shows the owner of path as the agent.
func (s *start) usersFor(path string, known map[[2]int]*os.File) (*os.File, error) {
	uid, gid, err := idmap.Owner(path)
	if err != nil {
		return nil, err
	}
	key := [2]int{uid, gid}
	if f := known[key]; f != nil {
		return f, nil
	}
	f, err := idmap.Users(s.exe, uid, gid, s.owner.agentUID, s.owner.agentGID)
	if err == nil {
		known[key] = f
	}
	return f, err
}

// writable returns the folders of the host the agent can write in.
func writable(j jail.Spec) []string {
	var out []string
	for _, m := range j.Mounts {
		if m.Writable {
			out = append(out, m.Source)
		}
	}
	return out
}
