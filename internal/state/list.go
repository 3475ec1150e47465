package state

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// startGrace is how long a folder may be "creating" without a warden: between Create and the new
// warden's Lock nobody holds it.
const startGrace = 10 * time.Second

// sweepAge is how old a half-made or half-removed folder must be before a lister removes it.
const sweepAge = time.Minute

// WardenDied is the Reason of a bottle that was found running with no warden.
const WardenDied = "its warden died"

// Entry is one bottle as List found it.
type Entry struct {
	Metadata
	// Dir is the bottle's folder. With a Problem it may not be readable as one.
	Dir *Dir `json:"-"`
	// Alive is true while a warden holds the folder.
	Alive bool `json:"alive"`
	// Problem says in words what is wrong with the folder; Metadata then holds the ID only.
	Problem string `json:"problem,omitempty"`
}

// List returns all bottles by ID. Broken and foreign folders are entries with a Problem, never an
// error. A bottle that claims to live and whose warden's lock nobody holds is shown as failed, and
// written down as such. Remains of interrupted creations and removals are cleared on the way.
func (s *Store) List(ctx context.Context) ([]Entry, error) {
	s.sweep()
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(names))
	for _, n := range names {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		id, err := bottle.ParseID(n)
		if err != nil {
			continue // names returns nothing that doesn't parse
		}
		e, gone := (&Dir{store: s, id: id, path: filepath.Join(s.root, n)}).entry()
		if !gone {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// entry looks at one folder; gone is true when it was removed meanwhile.
func (d *Dir) entry() (e Entry, gone bool) {
	e = Entry{Metadata: Metadata{ID: d.id}, Dir: d}
	err := private(d.path)
	if err == nil {
		e.Alive, err = d.Alive()
	}
	if err == nil {
		err = d.settle(&e)
	}
	if err != nil {
		if _, statErr := os.Lstat(d.path); errors.Is(statErr, os.ErrNotExist) {
			return e, true
		}
		e.Problem = err.Error()
	}
	return e, false
}

// settle reads d's metadata into e and, when they claim a life nobody lives, corrects them.
func (d *Dir) settle(e *Entry) error {
	m, err := d.Metadata()
	if err != nil {
		return err
	}
	e.Metadata = m
	if e.Alive || m.State.Ended() || d.starting(m) {
		return nil
	}
	// From here on no warden can start in this folder until we are done.
	release, err := lockFile(d.Path(LockFile), exclusive|atOnce)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // another lister settles it, or a warden came: next time will tell
	}
	if err != nil {
		return err
	}
	defer release()
	err = d.Update(func(m *Metadata) error {
		if !m.State.Ended() {
			now := time.Now()
			m.State, m.Ended, m.Reason = bottle.Failed, &now, WardenDied
		}
		e.Metadata = *m
		return nil
	})
	if e.State.Ended() {
		return nil // it is shown as it is, even where a full disk keeps that from being written down
	}
	return err
}

// starting reports whether m is so young that its warden may still be on its way.
func (d *Dir) starting(m Metadata) bool {
	if m.State != bottle.Creating || m.WardenPID != 0 {
		return false
	}
	fi, err := os.Lstat(d.Path(MetadataFile))
	return err == nil && time.Since(fi.ModTime()) < startGrace
}

// sweep removes what interrupted creations and removals left. Its failures are not told: the next
// lister tries again, and nothing depends on it.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), creating) && !strings.HasPrefix(e.Name(), removing) {
			continue
		}
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > sweepAge {
			_ = RemoveTree(filepath.Join(s.root, e.Name()))
		}
	}
}
