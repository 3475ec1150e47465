// Package state keeps what must survive a crash: one private folder a bottle under
// ~/.claude-bottle/state, with a versioned metadata.json replaced atomically, and a lock the
// bottle's warden holds as long as it lives, which is how everybody else can tell the living from
// the dead.
package state

import (
	"time"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Metadata is the content of metadata.json. It holds persisted fields only: no handle, no
// credential.
type Metadata struct {
	V       int          `json:"v"` // format version, 1
	ID      bottle.ID    `json:"id"`
	Agent   bottle.Name  `json:"agent"`
	Label   string       `json:"label,omitempty"`
	Color   string       `json:"color,omitempty"`
	Backend string       `json:"backend"`
	Bottles []string     `json:"bottles,omitempty"`
	State   bottle.State `json:"state"`
	Started time.Time    `json:"started"`
	Ended   *time.Time   `json:"ended,omitempty"`
	// Exit is the agent's exit code once it has one.
	Exit *int `json:"exit,omitempty"`
	// Reason says in words why the bottle ended, when it was not the agent's own doing.
	Reason string `json:"reason,omitempty"`
	// CopyOf is the host folder the workspace was copied from, if any.
	CopyOf string `json:"copy_of,omitempty"`
	// Headless tells a run from an interactive start.
	Headless bool `json:"headless,omitempty"`
	// WardenPID is the warden's process id on this host.
	WardenPID int `json:"warden_pid,omitempty"`
}

// Files in a bottle's folder.
const (
	MetadataFile = "metadata.json"
	PlanFile     = "plan.json"
	AuditFile    = "audit.jsonl"
	CastFile     = "session.cast"
	LaunchLog    = "launch.log"
	SelfTestFile = "selftest.json"
	SocketFile   = "warden.sock"
	LockFile     = "warden.lock"
	HomeDir      = "home"
	WorkDir      = "workspace"
)
