// Package workspace moves the operator's work into a bottle. A bottle works on a copy: what the
// agent does to it reaches the operator's own folder only when the operator takes it back.
package workspace

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Copied counts what Tar wrote.
type Copied struct {
	Files int
	Bytes int64
	// Skipped are the entries left out, relative to the root: sockets, devices, pipes, and files
	// that vanished or could not be read.
	Skipped []string
}

// maxSkipped bounds how many skipped names are kept; the rest are counted by their absence.
const maxSkipped = 100

// Tar writes the tree below root as a tar stream: folders, regular files and symbolic links (as
// links, never followed), with their permission bits less setuid and setgid and with their times.
// tick, when not nil, is called after every file with the running count. Files that change while
// being read are sent with the size they had when opened.
func Tar(ctx context.Context, root string, w io.Writer, tick func(Copied)) (Copied, error) {
	var c Copied
	tw := tar.NewWriter(w)
	r, err := os.OpenRoot(root)
	if err != nil {
		return c, fmt.Errorf("copy %s into the bottle: %w", root, err)
	}
	defer func() { _ = r.Close() }() // read-only
	err = fs.WalkDir(r.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if name == "." {
			return err
		}
		if err == nil {
			err = c.add(tw, r, name, d)
		}
		var unreadable *fs.PathError
		if errors.As(err, &unreadable) {
			if len(c.Skipped) < maxSkipped {
				c.Skipped = append(c.Skipped, name)
			}
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err == nil && tick != nil {
			tick(c)
		}
		return err
	})
	if err != nil {
		return c, fmt.Errorf("copy %s into the bottle: %w", root, err)
	}
	return c, tw.Close()
}

// errKind marks entries that have no place in a copy.
var errKind = errors.New("not a file, folder or link")

// add writes one entry. A *fs.PathError means the entry could not be read and nothing of it was
// written; any other error ends the copy.
func (c *Copied) add(tw *tar.Writer, r *os.Root, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	h := &tar.Header{Name: filepath.ToSlash(name), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(), Format: tar.FormatPAX}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		return tw.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = r.Readlink(name); err != nil {
			return err
		}
		c.Files++
		return tw.WriteHeader(h)
	case !info.Mode().IsRegular():
		return &fs.PathError{Op: "copy", Path: name, Err: errKind}
	}
	f, err := r.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read-only
	if info, err = f.Stat(); err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(tw, io.LimitReader(f, h.Size))
	if err != nil {
		return fmt.Errorf("%s: %v", name, err) // mid-entry: the stream can't be mended, so no *fs.PathError may show
	}
	if _, err := io.CopyN(tw, zeros{}, h.Size-n); err != nil { // it shrank while being read
		return err
	}
	c.Files++
	c.Bytes += n
	return nil
}

// zeros reads as an endless run of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
