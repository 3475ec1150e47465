package backend

import "github.com/claude-bottle/claude-bottle/internal/bottle"

// FirstHostID and LastHostID bound the user and group ids bottles are given on the host where they
// don't run under the operator's own: numbers that neither distributions nor container managers
// hand out.
const (
	FirstHostID = 0x70000000
	LastHostID  = 0x7ffd0000
)

// hostIDSlot is how many of them a bottle has for itself.
const hostIDSlot = 1024

// HostIDs returns the first of the host ids of the bottle called id, by a hash of it. Two bottles
// with one base share a user id and nothing else; with some 260 000 bases that is rare and does no
// harm.
func HostIDs(id bottle.ID) int {
	// FNV-1a: a name is spread, nothing is secret.
	h := uint32(2166136261)
	for _, c := range []byte(id.String()) {
		h = (h ^ uint32(c)) * 16777619
	}
	return FirstHostID + int(h%((LastHostID-FirstHostID)/hostIDSlot))*hostIDSlot
}
