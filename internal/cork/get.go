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

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/archive"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

const (
	// maxDepth bounds nested folders, each of which is a descriptor while it is packed.
	maxDepth = 200
	// dirBatch is how many names of a folder are held at a time.
	dirBatch = 256
)

// get packs a file or folder as the agent.
func (s *server) get(st *wire.Stream) {
	var req wire.GetRequest
	s.copying(st, &req, func() error { return pack(st, req.Path) })
}

// copying answers a request for an archive: f does it as the agent, once req is filled, and a few
// at a time.
func (s *server) copying(st *wire.Stream, req any, f func() error) {
	defer st.Close()
	s.copies <- struct{}{}
	defer func() { <-s.copies }()
	err := st.Header(req)
	if err == nil {
		err = s.threads.confined(f)
	}
	if err != nil {
		st.Reset(err.Error())
	}
}

// pack writes name, or what is in it, to w as a tar: files, folders and symbolic links. Sockets,
// devices and pipes are passed over, and so is what vanishes meanwhile; what can't be read is an
// error, since a copy with holes must not look like a whole one.
func pack(w io.Writer, name string) error {
	if !filepath.IsAbs(name) {
		return fmt.Errorf("%q is not an absolute path", name)
	}
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	p := &packer{tw: tar.NewWriter(w)}
	from, at := name, "."
	if !fi.IsDir() {
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return err
		}
		from, at = filepath.Split(name)
	}
	if p.root, err = os.OpenRoot(from); err != nil {
		return err
	}
	defer p.root.Close()
	if fi.IsDir() {
		err = p.folder(at, 0)
	} else {
		err = p.entry(at, 0)
	}
	if err != nil {
		return err
	}
	if p.entries == 0 && !fi.IsDir() {
		return fmt.Errorf("%s is neither a file nor a folder", name)
	}
	return p.tw.Close()
}

type packer struct {
	root    *os.Root
	tw      *tar.Writer
	entries int
	bytes   int64
}

func (p *packer) folder(name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%q: folders are nested deeper than %d", name, maxDepth)
	}
	d, err := p.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(dirBatch)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := p.entry(path.Join(name, n), depth+1); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
}

func (p *packer) entry(name string, depth int) error {
	fi, err := p.root.Lstat(name)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: int64(fi.Mode().Perm()), ModTime: fi.ModTime(), Format: tar.FormatPAX}
	switch {
	case fi.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		if err := p.head(h); err != nil {
			return err
		}
		return p.folder(name, depth)
	case fi.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = p.root.Readlink(name); err != nil {
			return err
		}
		return p.head(h)
	case fi.Mode().IsRegular():
		return p.file(h)
	}
	return nil
}

func (p *packer) head(h *tar.Header) error {
	if p.entries++; p.entries > archive.MaxEntries {
		return fmt.Errorf("there are more than %d files", archive.MaxEntries)
	}
	return p.tw.WriteHeader(h)
}

// file packs a file by what it is once open: between the look and the open the agent may have put
// something else there.
func (p *packer) file(h *tar.Header) error {
	f, err := p.root.OpenFile(h.Name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return err
	}
	if p.bytes += fi.Size(); p.bytes > archive.MaxBytes {
		return fmt.Errorf("the files are more than %d bytes", int64(archive.MaxBytes))
	}
	h.Typeflag, h.Size = tar.TypeReg, fi.Size()
	if err := p.head(h); err != nil {
		return err
	}
	n, err := io.Copy(p.tw, io.LimitReader(f, h.Size))
	if err != nil {
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	if n < h.Size { // it shrank while it was read; the archive's form must hold
		_, err = io.CopyN(p.tw, zeros{}, h.Size-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
