package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Errors a caller branches on.
var (
	// ErrExists is wrapped by Create when the ID has a folder already.
	ErrExists = errors.New("bottle exists already")
	// ErrNotFound is wrapped by Get when nothing matches.
	ErrNotFound = errors.New("no such bottle")
	// ErrAmbiguous is wrapped by Get when a prefix matches several; the text lists them.
	ErrAmbiguous = errors.New("more than one bottle matches")
	// ErrLocked is wrapped by Lock and Remove when a live warden holds the folder.
	ErrLocked = errors.New("its warden is alive")
)

// version is the format version written to Metadata.V.
const version = 1

// Prefixes of folders at work; List never shows them and sweep removes stale ones.
const (
	creating = ".creating-"
	removing = ".removing-"
)

// Store is the folder that holds one folder a bottle. It is safe for concurrent use, by several
// processes too.
type Store struct {
	root string
	// step is called between the steps of every change on disk; the crash tests die in it.
	step func(name string)
}

// Open returns the store at root, making it (0700, parents too) when missing. It refuses a root
// that is a symbolic link, belongs to somebody else, or can be written by group or others: whoever
// can write there decides what the operator attaches to.
func Open(root string) (*Store, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("state folder %q must be an absolute path", root)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := private(root); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	return &Store{root: filepath.Clean(root), step: func(string) {}}, nil
}

// Root returns the store's folder.
func (s *Store) Root() string { return s.root }

// private checks that path is a real folder of ours that nobody else can write.
func private(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.IsDir():
		return fmt.Errorf("%s is not a folder (%s)", path, fi.Mode().Type())
	case !ok || int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user; it must be yours", path)
	case fi.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by others (mode %04o); run: chmod go-w %s", path, fi.Mode().Perm(), path)
	}
	return nil
}

// Create makes the folder of a new bottle holding m, which needs an ID and an Agent; V is
// set. The folder
// appears under its name complete or not at all. A taken ID is an error wrapping ErrExists.
func (s *Store) Create(m Metadata) (*Dir, error) {
	if m.ID.IsZero() || m.Agent.IsZero() {
		return nil, errors.New("create bottle: it needs an id and an agent's name")
	}
	m.V = version
	tmp, err := os.MkdirTemp(s.root, creating+m.ID.String()+"-")
	if err != nil {
		return nil, fmt.Errorf("create bottle %s: %w", m.ID, err)
	}
	d, err := s.fill(tmp, m)
	if err != nil {
		// What can't be removed now is removed by sweep later.
		_ = os.RemoveAll(tmp)
		return nil, fmt.Errorf("create bottle %s: %w", m.ID, err)
	}
	return d, nil
}

func (s *Store) fill(tmp string, m Metadata) (*Dir, error) {
	s.step("create: folder made")
	if err := s.writeMetadata(tmp, m); err != nil {
		return nil, err
	}
	s.step("create: metadata written")
	final := filepath.Join(s.root, m.ID.String())
	// Renaming over a folder fails, and what a file or link is doing there is not ours to guess.
	if err := os.Rename(tmp, final); err != nil {
		if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
			return nil, ErrExists
		}
		return nil, err
	}
	s.step("create: renamed")
	return &Dir{store: s, id: m.ID, path: final}, nil
}

// Get returns the folder of the bottle called name, or of the only one whose ID starts with it.
func (s *Store) Get(name string) (*Dir, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range names {
		if n == name {
			found = []string{n}
			break
		}
		if name != "" && strings.HasPrefix(n, name) {
			found = append(found, n)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("bottle %q: %w", name, ErrNotFound)
	case len(found) > 1:
		return nil, fmt.Errorf("bottle %q: %w: %s", name, ErrAmbiguous, strings.Join(found, ", "))
	}
	id, err := bottle.ParseID(found[0])
	if err != nil {
		return nil, err
	}
	d := &Dir{store: s, id: id, path: filepath.Join(s.root, found[0])}
	if err := private(d.path); err != nil {
		return nil, fmt.Errorf("bottle %s: %w", id, err)
	}
	return d, nil
}

// names lists the entries of root that are named like bottles.
func (s *Store) names() ([]string, error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, err := bottle.ParseID(e.Name()); err == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
