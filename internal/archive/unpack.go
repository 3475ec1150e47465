// Package archive takes tars that somebody hostile may have made: the agent its warden's, the warden
// its agent's. Both sides use the same code, since neither trusts the other.
package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of one archive, in either direction.
const (
	MaxEntries = 2 << 20
	MaxBytes   = 64 << 30
)

// Options say how an archive is taken.
type Options struct {
	// PassOver leaves out what is no file, folder or link, instead of refusing the archive.
	PassOver bool
}

// Unpack writes a tar's files, folders and links into dir, which is never left: names that lead
// out are refused, and so is writing through a link that does. The content of symbolic links is
// taken as it is. It returns how many entries were passed over.
func Unpack(r io.Reader, dir string, o Options) (passed int, err error) {
	if !filepath.IsAbs(dir) {
		return 0, fmt.Errorf("folder %q is not an absolute path", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	u := &unpacker{root: root, options: o}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			if err := u.finish(); err != nil {
				return u.passed, err
			}
			_, err = io.Copy(io.Discard, r) // padding behind the end marker
			return u.passed, err
		}
		if err != nil {
			return u.passed, fmt.Errorf("archive: %w", err)
		}
		if err := u.entry(h, tr); err != nil {
			return u.passed, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

var errTooMany = fmt.Errorf("the archive has more than %d entries", MaxEntries)

type unpacker struct {
	root    *os.Root
	options Options
	entries int
	passed  int
	bytes   int64
	folders []folder // whose final mode might forbid us to fill them
}

type folder struct {
	name string
	mode fs.FileMode
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if u.entries++; u.entries > MaxEntries {
		return errTooMany
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment about the archive
	}
	name, err := place(h.Name)
	if err != nil {
		return err
	}
	if err := u.way(path.Dir(name)); err != nil {
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
	case tar.TypeLink:
		to, err := place(h.Linkname)
		if err == nil {
			err = u.clear(name)
		}
		if err != nil {
			return err
		}
		return u.root.Link(to, name)
	}
	if u.options.PassOver {
		u.passed++
		return nil
	}
	return fmt.Errorf("is of type %q; only files, folders and symbolic links are copied", h.Typeflag)
}

// way makes the folders above an entry. Those the archive has no entry for count as if it had: a
// single name can call for thousands.
func (u *unpacker) way(dir string) error {
	if _, err := u.root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if u.entries += strings.Count(dir, "/") + 1; u.entries > MaxEntries {
			return errTooMany
		}
	}
	return u.root.MkdirAll(dir, 0o755)
}

// place returns where a name of the archive belongs, relative to the folder.
func place(name string) (string, error) {
	name = strings.TrimSuffix(name, "/")
	if !filepath.IsLocal(name) {
		return "", errors.New("leads out of the folder")
	}
	return path.Clean(name), nil
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
	if h.Size < 0 || h.Size > MaxBytes-u.bytes {
		return fmt.Errorf("the archive's files are more than %d bytes", int64(MaxBytes))
	}
	u.bytes += h.Size
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

// finish gives folders their modes, the deepest first: a closed one closes what lies in it.
func (u *unpacker) finish() error {
	slices.SortStableFunc(u.folders, func(a, b folder) int {
		return strings.Count(b.name, "/") - strings.Count(a.name, "/")
	})
	for _, f := range u.folders {
		if err := u.root.Chmod(f.name, f.mode); err != nil {
			return err
		}
	}
	return nil
}
