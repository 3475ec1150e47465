package docker

import (
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/engine"
)

func TestWhoTheProcessesAre(t *testing.T) {
	t.Parallel()
	id := newID(t)
	base := backend.HostIDs(id)
	own := identity{cork: base, agentUID: base + 1000, agentGID: base + 1000, own: true}
	lent := own
	lent.shared, lent.lent = true, true
	mapped := identity{cork: 65533, agentUID: 1000, agentGID: 1000, own: true}
	here := engine.Info{Local: true, SharesUsers: true}
	for _, c := range []struct {
		name      string
		engine    engine.Info
		ownKernel bool
		uid, gid  int
		want      identity
	}{
		{"a user, on this kernel", here, false, 1000, 100, identity{cork: base, agentUID: 1000, agentGID: 100, shared: true}},
		{"a user, on a kernel of the runtime's", here, true, 1000, 1000, identity{cork: base, agentUID: 1000, agentGID: 1000, shared: true}},
		{"a user in root's group", here, false, 1000, 0, identity{cork: base, agentUID: 1000, agentGID: base + 1000, shared: true}},
		{"root, on this kernel", here, false, 0, 0, lent},
		{"root in a group of users", here, false, 0, 1000, lent},
		{"root, on a kernel of the runtime's", here, true, 0, 0, own},
		{"a rootless engine", engine.Info{Local: true, Rootless: true}, false, 1000, 1000, mapped},
		{"a rootless engine of root's", engine.Info{Local: true, Rootless: true}, false, 0, 0, mapped},
		{"an engine with mapped users", engine.Info{Local: true, UserNS: true}, false, 0, 0, mapped},
		{"an engine elsewhere", engine.Info{}, false, 1000, 1000, own},
		{"an engine elsewhere, root", engine.Info{}, false, 0, 0, own},
		{"a rootless engine elsewhere", engine.Info{Rootless: true}, true, 1000, 1000, mapped},
	} {
		if got := identityFor(id, c.engine, c.ownKernel, c.uid, c.gid); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestNobodyInABottleIsRoot(t *testing.T) {
	t.Parallel()
	flags := []bool{false, true}
	for _, shares := range flags {
		for _, rootless := range flags {
			for _, mapped := range flags {
				for _, ownKernel := range flags {
					for _, uid := range []int{0, 1, 1000, 65533, 65534} {
						for _, gid := range []int{0, 1, uid} {
							i := engine.Info{Local: shares, SharesUsers: shares, Rootless: rootless, UserNS: mapped}
							got := identityFor(newID(t), i, ownKernel, uid, gid)
							if got.cork == 0 || got.agentUID == 0 || got.agentGID == 0 || got.cork == got.agentUID {
								t.Errorf("%+v, %d:%d, own kernel %v: %+v", i, uid, gid, ownKernel, got)
							}
							if got.own && got.agentUID == uid && !rootless && !mapped {
								t.Errorf("%+v, uid %d: the operator's id was said to be the bottle's own", i, uid)
							}
							if got.lent && !got.shared {
								t.Errorf("%+v: lent, and not shown", got)
							}
						}
					}
				}
			}
		}
	}
}
