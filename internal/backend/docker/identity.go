package docker

import (
	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/engine"
)

// Ids in a container whose ids are mapped to others on the engine's host.
const (
	mappedCork  = 65533
	mappedAgent = backend.AgentUID
)

// identity says who the bottle's processes are in the container.
type identity struct {
	cork, agentUID, agentGID int
	// shared: the agent's folders are the host's own, shown in the container.
	shared bool
	// lent: they are shown under other ids than they have on disk, because the operator is root.
	lent bool
	// own: nobody but the bottle has the agent's id, so that its processes can be counted by it.
	own bool
}

// identityFor chooses: the operator's own ids where ids in the container mean the same on this host,
// unless those are root's; else ids that own nothing. Under a kernel that is not the host's, root's
// folders can't be shown under other ids: it is the runtime, as root, that makes the files there.
func identityFor(id bottle.ID, i engine.Info, ownKernel bool, uid, gid int) identity {
	base := backend.HostIDs(id)
	switch {
	case i.SharesUsers && uid == 0 && ownKernel:
		return elsewhere(id)
	case i.SharesUsers && uid != 0:
		if gid == 0 {
			gid = base + backend.AgentGID // root's group is root's too
		}
		return identity{cork: base, agentUID: uid, agentGID: gid, shared: true}
	case i.SharesUsers:
		return identity{cork: base, agentUID: base + backend.AgentUID, agentGID: base + backend.AgentGID, shared: true, lent: true, own: true}
	case i.Rootless || i.UserNS:
		return identity{cork: mappedCork, agentUID: mappedAgent, agentGID: mappedAgent, own: true}
	default:
		return elsewhere(id)
	}
}

// elsewhere is who they are when nothing of this host is shared.
func elsewhere(id bottle.ID) identity {
	base := backend.HostIDs(id)
	return identity{cork: base, agentUID: base + backend.AgentUID, agentGID: base + backend.AgentGID, own: true}
}
