package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/partial"
	"golang.org/x/sys/unix"
)

// Bounds of an archive's own parts; its layers have those of package archive.
const (
	jsonMax    = 4 << 20
	jsonAllMax = 64 << 20 // of those kept while a packed archive is looked through
	partsMax   = 100_000
	nestedMax  = 4 // indexes in indexes
	layersMax  = 1000
)

// IsArchive reports whether ref is the path of an image archive and no name of an image.
func IsArchive(ref string) bool {
	for _, start := range []string{"/", "./", "../"} {
		if strings.HasPrefix(ref, start) {
			return true
		}
	}
	for _, end := range []string{".tar", ".tar.gz", ".tgz"} {
		if strings.HasSuffix(ref, end) {
			return true
		}
	}
	return false
}

// Archive is an image on this host's disk: what `docker save` or `podman save` writes, an OCI
// layout in a folder or as a tar, either of them packed or not. Of several platforms it takes
// linux/arch.
func Archive(ctx context.Context, name, arch string) (Content, error) {
	files, err := openArchive(ctx, name, nil)
	if err != nil {
		return Content{}, err
	}
	defer files.close()
	p, err := fromFiles(files, name, arch)
	if err != nil {
		return Content{}, err
	}
	c := fromConfig(name, p.digest, p.config)
	c.open = func(ctx context.Context, s *supply) (*layered, error) {
		files, err := openArchive(ctx, name, s)
		if err != nil {
			return nil, err
		}
		p, err := fromFiles(files, name, arch)
		if err == nil && p.digest != c.Digest {
			err = fmt.Errorf("%s holds another image than a moment ago", name)
		}
		if err != nil {
			files.close()
			return nil, err
		}
		return p.take(files, name)
	}
	return c, nil
}

// files are the parts of an image archive by their names.
type files interface {
	// open's error for a part that isn't there wraps fs.ErrNotExist. Parts last until close.
	open(name string) (*io.SectionReader, error)
	close()
}

// openArchive opens an archive, unpacking it to s; when s is nil, a packed one has only its JSON.
func openArchive(ctx context.Context, name string, s *supply) (files, error) {
	bad := func(why string, err error) error {
		return &Error{Why: fmt.Sprintf("%s %s", name, why), Fix: "write one with: docker save -o FILE IMAGE", Err: err}
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, bad("is not there: no image archive", err)
	}
	if err != nil {
		return nil, fmt.Errorf("image archive %s: %w", name, cause(err))
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close() // it was only read
		if err == nil && info.IsDir() {
			root, err := os.OpenRoot(name)
			if err != nil {
				return nil, fmt.Errorf("image archive %s: %w", name, cause(err))
			}
			return &folderFiles{root: root}, nil
		}
		return nil, bad("is no image archive: neither a plain file nor a folder", err)
	}
	whole := io.NewSectionReader(f, 0, info.Size())
	var found files
	switch {
	case !packed(whole):
		found, err = indexTar(ctx, f)
	case s == nil:
		found, err = skim(ctx, whole)
		_ = f.Close() // it was only read
	default:
		f, err = s.unpack(ctx, f, info.Size())
		if err == nil {
			found, err = indexTar(ctx, f)
		}
	}
	if err == nil {
		return found, nil
	}
	if f != nil {
		_ = f.Close() // it was only read, or goes with it
	}
	if _, ours := errorOf(err); ours || ctx.Err() != nil {
		return nil, err
	}
	return nil, bad(fmt.Sprintf("is no image archive: %v", cause(err)), err)
}

// unpack unpacks a file to the scratch folder, and closes it.
func (s *supply) unpack(ctx context.Context, f *os.File, size int64) (*os.File, error) {
	defer f.Close()
	r, done, err := uncompressed(s.meter(ctx, f, "unpacking", size), io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil, err
	}
	defer done()
	return s.spool(r, 3*size)
}

// packed reports whether b begins as what gzip or zstd make.
func packed(b io.ReaderAt) bool {
	var magic [4]byte
	_, _ = b.ReadAt(magic[:], 0) // too short is not packed
	return magic[0] == 0x1f && magic[1] == 0x8b || string(magic[:]) == "\x28\xb5\x2f\xfd"
}

// uncompressed is r, unpacked when b, which it reads from the beginning, is packed. Done ends it.
func uncompressed(r io.Reader, b io.ReaderAt) (_ io.Reader, done func(), err error) {
	if !packed(b) {
		return r, func() {}, nil
	}
	l, err := partial.CompressedToLayer(blob{r: r})
	if err != nil {
		return nil, nil, err
	}
	rc, err := l.Uncompressed()
	if err != nil {
		return nil, nil, err
	}
	return rc, func() { _ = rc.Close() }, nil // it was only read
}

// blob is a stream as the library's unpacking wants it.
type blob struct {
	partial.CompressedLayer // nothing else is asked for
	r                       io.Reader
}

// Compressed implements partial.CompressedLayer.
func (b blob) Compressed() (io.ReadCloser, error) { return io.NopCloser(b.r), nil }

// folderFiles are the parts in a folder.
type folderFiles struct {
	root   *os.Root
	opened []*os.File
}

func (d *folderFiles) open(name string) (*io.SectionReader, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	d.opened = append(d.opened, f)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no plain file", name)
	}
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f, 0, info.Size()), nil
}

func (d *folderFiles) close() {
	for _, f := range d.opened {
		_ = f.Close() // it was only read
	}
	_ = d.root.Close()
}

// tarFiles are the parts in a tar.
type tarFiles struct {
	f     *os.File
	parts map[string]*io.SectionReader
	links map[string]string // old Dockers write a layer that is there twice as a link
}

// indexTar finds the parts of a tar on disk. It takes the file when it succeeds.
func indexTar(ctx context.Context, f *os.File) (*tarFiles, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	t := &tarFiles{f: f, parts: map[string]*io.SectionReader{}, links: map[string]string{}}
	err := eachPart(ctx, f, func(h *tar.Header, _ io.Reader) error {
		switch h.Typeflag {
		case tar.TypeReg:
			// A tar.Reader reads a file that can seek without reading ahead.
			at, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			t.parts[h.Name] = io.NewSectionReader(f, at, h.Size)
		case tar.TypeSymlink:
			t.links[h.Name] = path.Join(path.Dir(h.Name), h.Linkname)
		case tar.TypeLink:
			t.links[h.Name] = path.Clean(h.Linkname)
		}
		return nil
	})
	return t, err
}

func (t *tarFiles) open(name string) (*io.SectionReader, error) {
	name = path.Clean(name)
	for range 8 {
		if part, ok := t.parts[name]; ok {
			return part, nil
		}
		to, ok := t.links[name]
		if !ok {
			break
		}
		name = to
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (t *tarFiles) close() { _ = t.f.Close() } // it was only read, or goes with it

// skimmed are the JSON files of a tar; its layers are not at hand.
type skimmed map[string][]byte

// skim looks through a packed tar once.
func skim(ctx context.Context, b *io.SectionReader) (files, error) {
	r, done, err := uncompressed(b, b)
	if err != nil {
		return nil, err
	}
	defer done()
	found, total := skimmed{}, 0
	err = eachPart(ctx, r, func(h *tar.Header, r io.Reader) error {
		if h.Typeflag != tar.TypeReg || h.Size > jsonMax {
			return nil
		}
		text := make([]byte, 1, 512)
		if _, err := io.ReadFull(r, text); err != nil || text[0] != '{' && text[0] != '[' {
			return nil // a layer; what is wrong with the archive, the next step says
		}
		rest, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if total += len(rest); total > jsonAllMax {
			return errors.New("it has too many parts")
		}
		found[h.Name] = append(text, rest...)
		return nil
	})
	return found, err
}

func (s skimmed) open(name string) (*io.SectionReader, error) {
	text, ok := s[path.Clean(name)]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return io.NewSectionReader(strings.NewReader(string(text)), 0, int64(len(text))), nil
}

func (s skimmed) close() {}

func eachPart(ctx context.Context, r io.Reader, each func(h *tar.Header, r io.Reader) error) error {
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == partsMax {
			return fmt.Errorf("it has more than %d parts", partsMax)
		}
		h.Name = path.Clean(h.Name)
		if err := each(h, tr); err != nil {
			return err
		}
	}
}
