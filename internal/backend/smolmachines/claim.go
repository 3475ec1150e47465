package smolmachines

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/carry"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Files of a bottle in our data folder. The lock is held by the process that holds the bottle and by
// the smolvm that runs cork, so that it is free when, and only when, nothing of the bottle runs.
const (
	claimsDir  = "bottles"
	lockName   = "lock"
	recordName = "record.json"
)

// record is what must be known of a bottle to take it down without the one who made it.
type record struct {
	// Carried are the folders to be brought home, once Filled.
	Carried []carry.Folder `json:"carried"`
	// Filled says that the machine has them: before that what is here is all there is.
	Filled bool `json:"filled"`
	// Socket is the wire's on this host; empty for none.
	Socket string `json:"socket,omitempty"`
}

// claim is a bottle's folder in our data folder, and the lock on it.
type claim struct {
	dir  string
	lock *os.File
}

func claimDir(data string, id bottle.ID) string { return filepath.Join(data, claimsDir, id.String()) }

// errHeld says that a living process has the claim.
var errHeld = errors.New("another process holds it")

// take claims a bottle, whether it was claimed before or not. The error wraps errHeld when somebody
// holds it.
func take(data string, id bottle.ID) (*claim, error) {
	dir := claimDir(data, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("claim the bottle: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim the bottle: %w", err)
	}
	for end := time.Now().Add(glances); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &claim{dir, f}, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end) {
			continue
		}
		_ = f.Close() // never used
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errHeld
		}
		return nil, fmt.Errorf("claim the bottle: %w", err)
	}
}

// glances is how long held may have the lock when it looks whether somebody has it.
const glances = 100 * time.Millisecond

// held reports whether a living process has the claim on a bottle.
func held(data string, id bottle.ID) bool {
	f, err := os.Open(filepath.Join(claimDir(data, id), lockName))
	if err != nil {
		return false
	}
	defer f.Close() // only read
	defer unlock(f)
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// unlock ends a glance at a lock. Closing alone would do that only when no process that is just being started
// still has a copy of the descriptor, as it has between its fork and its exec.
func unlock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) } // it fails for what is no file

// write keeps r, in one step.
func (c *claim) write(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fresh := filepath.Join(c.dir, recordName+".new")
	if err := os.WriteFile(fresh, b, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(c.dir, recordName))
}

// read returns what was kept last; nothing was kept of a claim that was just made.
func (c *claim) read() (r record, err error) {
	b, err := os.ReadFile(filepath.Join(c.dir, recordName))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", filepath.Join(c.dir, recordName), err)
	}
	return r, nil
}

// drop gives the claim up for good.
func (c *claim) drop() error { return errors.Join(os.RemoveAll(c.dir), c.lock.Close()) }

// release leaves everything for cleanup. Who runs cork may have the lock still, and is not to lose it.
func (c *claim) release() { _ = c.lock.Close() } // nothing was written to it

// claims lists the bottles that were claimed and not given up, with the time of that.
func claims(data string) (map[bottle.ID]time.Time, error) {
	entries, err := os.ReadDir(filepath.Join(data, claimsDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	out := map[bottle.ID]time.Time{}
	for _, e := range entries {
		id, err := bottle.ParseID(e.Name())
		if err != nil {
			continue // not made by us
		}
		if st, err := e.Info(); err == nil {
			out[id] = st.ModTime()
		}
	}
	return out, nil
}

// agentIDs are the ids of a bottle's processes in its machine. Nobody else has them there, and nobody on
// this host, should the guest's kernel be told apart less well than it is said to be.
func agentIDs(id bottle.ID) (cork, uid, gid int) {
	base := backend.HostIDs(id)
	return base, base + backend.AgentUID, base + backend.AgentGID
}
