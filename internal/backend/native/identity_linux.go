package native

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
)

// identity says who the bottle's processes are on the host.
type identity struct {
	// root: the holder is root. The bottle then has ids of its own that own nothing on the host:
	// one for cork, the namespace's root, and one for the agent. Otherwise both are the operator.
	root               bool
	corkUID, corkGID   int
	agentUID, agentGID int
}

func identityFor(id bottle.ID) identity {
	if uid := os.Geteuid(); uid != 0 {
		gid := os.Getegid()
		return identity{corkUID: uid, corkGID: gid, agentUID: uid, agentGID: gid}
	}
	base := backend.HostIDs(id)
	return identity{root: true, corkUID: base, corkGID: base, agentUID: base + backend.AgentUID, agentGID: base + backend.AgentGID}
}

// spaces are the namespaces of a bottle.
var spaces = []struct {
	name string
	flag uintptr
	hole string // in leaky builds
}{
	{"user", unix.CLONE_NEWUSER, ""},
	{"mount", unix.CLONE_NEWNS, ""},
	{"pid", unix.CLONE_NEWPID, "no-pidns"},
	{"net", unix.CLONE_NEWNET, "net"},
	{"ipc", unix.CLONE_NEWIPC, ""},
	{"uts", unix.CLONE_NEWUTS, ""},
	{"cgroup", unix.CLONE_NEWCGROUP, ""},
}

func namespaces() []string {
	var names []string
	for _, s := range spaces {
		if !leak.On(s.hole) {
			names = append(names, s.name)
		}
	}
	return names
}

// attributes starts a process in new namespaces with all capabilities over them and none over the
// host. They are ambient because a process that isn't the namespace's root, and at this moment
// neither kind is, loses all others when it executes a program.
func (i identity) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		UidMappings: []syscall.SysProcIDMap{{ContainerID: backend.AgentUID, HostID: i.agentUID, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: backend.AgentGID, HostID: i.agentGID, Size: 1}},
		// A session of its own: no terminal of the holder's, no signal to its group.
		Setsid: true,
	}
	if i.root {
		a.UidMappings = append(a.UidMappings, syscall.SysProcIDMap{ContainerID: 0, HostID: i.corkUID, Size: 1})
		a.GidMappings = append(a.GidMappings, syscall.SysProcIDMap{ContainerID: 0, HostID: i.corkGID, Size: 1})
		a.GidMappingsEnableSetgroups = true
	} else if leak.On("uid0") {
		a.UidMappings[0].ContainerID, a.GidMappings[0].ContainerID = 0, 0
	}
	for _, s := range spaces {
		if !leak.On(s.hole) {
			a.Cloneflags |= s.flag
		}
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		a.AmbientCaps = append(a.AmbientCaps, c)
	}
	return a
}
