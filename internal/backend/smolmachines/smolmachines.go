// Package smolmachines runs bottles in microVMs of smolvm's: each has a kernel of its own.
//
// A bottle is one machine without a network device, made from its image as a packed artifact. In the
// machine this program does everything that smolvm's own ways to run commands leave open, being there
// as part of the artifact:
//
//	fill    takes the bottle's files and folders from standard input
//	run     is the machine's root for the life of the bottle: it makes new namespaces in the guest, a
//	        network among them in which nothing of the machine's is, and starts cork in them as their
//	        first process, over the wire
//	drain   writes a folder to standard output once nothing of the agent's runs any more
//
// The wire is a unix socket of this host that the machine shows, or where that can't be had the
// standard input and output of run. No file system is shared: folders are copied in at the start
// and brought home at the end, also by cleanup after a crash, for which the machine is started again.
package smolmachines

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend/guest"
	"github.com/claude-bottle/claude-bottle/internal/backend/jail"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Name is the word the operator types.
const Name = "smolmachines"

// labelID marks our machines with the bottle they are.
const labelID = "claude-bottle.id"

// Places in a machine that are ours. Only its root enters the last one.
const (
	ownDir    = "/.claude-bottle"
	corkPath  = ownDir + "/cork"
	bottleDir = ownDir + "/bottle"
	filesName = "files" // in bottleDir: the content of the bottle's files, one after the other
	lockPath  = ownDir + "/lock"
	// wirePath lies where the bottle has a folder of its own: the agent never sees it.
	wirePath = "/run/claude-bottle/wire"
)

// Verbs of this program in a machine.
const (
	verbFill   = "fill"
	verbRun    = "run"
	verbSealed = "sealed"
	verbDrain  = "drain"
)

// setup is what run is told, as its one argument. It holds no secret.
type setup struct {
	// Socket is where the wire is to be had; standard input and output are the wire where it can't.
	Socket string    `json:"socket,omitempty"`
	Jail   jail.Spec `json:"jail"`
	Who    guest.Who `json:"who"`
	PIDs   uint64    `json:"pids,omitempty"`  // processes of the agent's; 0 is no limit
	Disk   uint64    `json:"disk,omitempty"`  // bytes of a single file; 0 is no limit
	Meter  int64     `json:"meter,omitempty"` // bytes of the writable folders together; 0 is no limit
}

// given says who is to own what in bottleDir once it is filled.
type given struct {
	Names    []string `json:"names"`
	UID, GID int
}

// machineName names the machine of a bottle. Machines can't be called all that bottles can: two
// hyphens in a row are not allowed.
func machineName(id bottle.ID) string {
	name := "claude-bottle-" + id.String()
	plain := name
	for strings.Contains(plain, "--") {
		plain = strings.ReplaceAll(plain, "--", "-")
	}
	if plain == name {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return plain + "-" + hex.EncodeToString(sum[:4])
}
