package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// maxMetadata bounds what is read of a metadata.json, in bytes.
const maxMetadata = 1 << 20

// Dir is the state folder of one bottle. It holds no handle; any number of Dirs may name the same
// folder, in one process or in several.
type Dir struct {
	store *Store
	id    bottle.ID
	path  string
}

// ID returns the bottle's ID.
func (d *Dir) ID() bottle.ID { return d.id }

// Path returns the path of name in the folder, or of the folder itself when name is empty. Names
// are the constants of this package.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Metadata reads metadata.json.
func (d *Dir) Metadata() (Metadata, error) {
	m, err := readMetadata(d.path)
	if err == nil && m.ID != d.id {
		err = fmt.Errorf("%s names bottle %q", MetadataFile, m.ID)
	}
	if err != nil {
		return Metadata{}, fmt.Errorf("bottle %s: %w", d.id, err)
	}
	return m, nil
}

// Update changes metadata.json: change gets the current content and edits it in place; an error
// of it leaves the file as it was. Updates of several processes happen one after the other, and a
// crash leaves either the old content or the new.
func (d *Dir) Update(change func(*Metadata) error) error {
	unlock, err := lockFile(d.path, exclusive)
	if err != nil {
		return fmt.Errorf("bottle %s: %w", d.id, err)
	}
	defer unlock()
	m, err := d.Metadata()
	if err != nil {
		return err
	}
	if err := change(&m); err != nil {
		return err
	}
	if m.ID != d.id {
		return fmt.Errorf("bottle %s: an update can't rename it to %q", d.id, m.ID)
	}
	if err := d.store.writeMetadata(d.path, m); err != nil {
		return fmt.Errorf("bottle %s: %w", d.id, err)
	}
	return nil
}

// To moves the bottle's state to next by the rules of bottle.State.To.
func (m *Metadata) To(next bottle.State) error {
	s, err := m.State.To(next)
	if err != nil {
		return fmt.Errorf("bottle %s: %w", m.ID, err)
	}
	m.State = s
	return nil
}

func readMetadata(dir string) (Metadata, error) {
	f, err := openRegular(filepath.Join(dir, MetadataFile))
	if err != nil {
		return Metadata{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMetadata+1))
	if err != nil {
		return Metadata{}, err
	}
	if len(b) > maxMetadata {
		return Metadata{}, fmt.Errorf("%s is larger than %d bytes", MetadataFile, maxMetadata)
	}
	var m Metadata
	if err := json.Unmarshal(b, &m); err != nil {
		return Metadata{}, fmt.Errorf("%s: %w", MetadataFile, err)
	}
	if m.V != version {
		return Metadata{}, fmt.Errorf("%s has format version %d, this program knows %d; use the program that wrote it", MetadataFile, m.V, version)
	}
	return m, nil
}

// writeMetadata replaces dir's metadata.json: a new file beside it, then renamed over it, so that
// the death of any process leaves the old or the new. It does not flush: a power cut ends every
// bottle, and what is worth keeping of one is flushed by Flush when it ends.
func (s *Store) writeMetadata(dir string, m Metadata) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+MetadataFile+"-*") // mode 0600
	if err != nil {
		return err
	}
	s.step("metadata: temporary made")
	_, err = f.Write(b.Bytes())
	s.step("metadata: temporary written")
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, MetadataFile))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
		return err
	}
	s.step("metadata: renamed")
	return nil
}

// Flush makes metadata.json and its place survive a power cut. It costs some milliseconds.
func (d *Dir) Flush() error {
	for _, path := range []string{d.Path(MetadataFile), d.path, d.store.root} {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("bottle %s: %w", d.id, err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("bottle %s: %w", d.id, err)
		}
	}
	return nil
}
