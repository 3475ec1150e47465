//go:build linux

package cork

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Bounds of one archive, in either direction.
const (
	maxEntries = 2 << 20
	maxBytes   = 64 << 30
)

// put unpacks an archive as the agent.
func (s *server) put(st *wire.Stream) {
	var req wire.PutRequest
	s.copying(st, &req, func() error { return unpack(st, req.Dir) })
}

// unpack writes a tar's files, folders and symbolic links into dir, which is never left: names
// that lead out are refused, and so is writing through a link that does. The content of links is
// taken as it is; the agent could make any link itself.
func unpack(r io.Reader, dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("folder %q is not an absolute path", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := &unpacker{root: root}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			if err := u.finish(); err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r) // padding behind the end marker
			return err
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if err := u.entry(h, tr); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

type unpacker struct {
	root    *os.Root
	entries int
	bytes   int64
	folders []folder // whose final mode might forbid us to fill them
}

type folder struct {
	name string
	mode fs.FileMode
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if u.entries++; u.entries > maxEntries {
		return fmt.Errorf("the archive has more than %d entries", maxEntries)
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment about the archive
	}
	name := strings.TrimSuffix(h.Name, "/")
	if !filepath.IsLocal(name) {
		return errors.New("leads out of the folder")
	}
	name = path.Clean(name)
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode) & fs.ModePerm // no setuid, setgid or sticky bits
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		if name != "." {
			u.folders = append(u.folders, folder{name, mode})
		}
		return nil
	case tar.TypeReg:
		return u.file(name, mode, h, content)
	case tar.TypeSymlink:
		if err := u.clear(name); err != nil {
			return err
		}
		return u.root.Symlink(h.Linkname, name)
	}
	return fmt.Errorf("is of type %q; only files, folders and symbolic links are copied", h.Typeflag)
}

// clear removes what is in the place of a file or link to come, if it is not a folder with
// something in it.
func (u *unpacker) clear(name string) error {
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (u *unpacker) file(name string, mode fs.FileMode, h *tar.Header, content io.Reader) error {
	if u.bytes += h.Size; h.Size < 0 || u.bytes > maxBytes {
		return fmt.Errorf("the archive's files are more than %d bytes", int64(maxBytes))
	}
	if err := u.clear(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask says
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil || h.ModTime.IsZero() {
		return err
	}
	return u.root.Chtimes(name, h.ModTime, h.ModTime)
}

// finish gives folders their modes, the deepest first.
func (u *unpacker) finish() error {
	for i := len(u.folders) - 1; i >= 0; i-- {
		if err := u.root.Chmod(u.folders[i].name, u.folders[i].mode); err != nil {
			return err
		}
	}
	return nil
}
