package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	treeMax    = 1 << 30 // bytes that go to an engine
	entriesMax = 200_000
)

// entry is a file, folder or symbolic link of a tree.
type entry struct {
	path   string // relative, with slashes
	mode   fs.FileMode
	size   int64  // of files
	link   string // of symbolic links
	time   int64  // when it was written, in nanoseconds
	digest string // of files: the SHA-256 of their bytes in hex; empty where they are not read
}

// tree is what goes to an engine from a folder of this host. Nothing outside the folder is ever
// read: symbolic links go as links.
type tree struct {
	root    *os.Root
	entries []entry // in the order of a walk, by name
	size    int64   // of all files together
	lone    bool    // it is a single file, which takes the name of the whole
}

// tooBig is a tree beyond a bound.
type tooBig struct {
	folder string // the biggest at the top, relative; "." when it is none
	size   int64  // of that
}

func (e *tooBig) Error() string { return "too big" }

// openTree lists what is in dir and not ignored. Sockets, devices and pipes are left out. Files
// have no digest yet. It returns *tooBig beyond the bounds.
func openTree(ctx context.Context, dir string, ig ignore) (_ *tree, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = root.Close() // it was only read
		}
	}()
	t := &tree{root: root}
	sizes := map[string]int64{} // of what lies at the top
	var above []entry           // folders that are ignored, and are sent when something in them is not
	walk := func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		out := ig.excludes(name)
		if out && !d.IsDir() {
			return nil
		}
		if out && !ig.mayKeepBelow(name) {
			return fs.SkipDir
		}
		e, ok, err := describe(root, name)
		if err != nil || !ok {
			return err
		}
		for len(above) > 0 && !strings.HasPrefix(name, above[len(above)-1].path+"/") {
			above = above[:len(above)-1]
		}
		if out {
			above = append(above, e)
			return nil
		}
		t.entries = append(append(t.entries, above...), e)
		above = above[:0]
		t.size += e.size
		top, _, _ := strings.Cut(name, "/")
		sizes[top] += e.size
		if len(t.entries) > entriesMax {
			return &tooBig{}
		}
		return nil
	}
	err = fs.WalkDir(root.FS(), ".", walk)
	if big := new(tooBig); errors.As(err, &big) || err == nil && t.size > treeMax {
		for name, size := range sizes {
			if size > big.size {
				big.folder, big.size = name, size
			}
		}
		return nil, big
	}
	return t, err
}

// describe returns the entry for name; false for what no tree carries.
func describe(root *os.Root, name string) (e entry, ok bool, err error) {
	info, err := root.Lstat(name)
	if err != nil {
		return entry{}, false, err
	}
	e = entry{path: name, mode: info.Mode(), time: info.ModTime().UnixNano()}
	switch {
	case info.Mode().IsRegular():
		e.size = info.Size()
	case info.IsDir():
	case info.Mode()&fs.ModeSymlink != 0:
		if e.link, err = root.Readlink(name); err != nil {
			return entry{}, false, err
		}
		e.mode = fs.ModeSymlink | fs.ModePerm // systems differ in what a link's permissions are
	default:
		return entry{}, false, nil
	}
	return e, true, nil
}

// openFile opens a file of the tree, and nothing else: no link, nothing to hang on.
func (t *tree) openFile(name string) (*os.File, error) {
	f, err := t.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close() // it was only opened
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is no plain file any more")}
	}
	return f, nil
}

// sum fills in the digests of all files, reading those that known has none for.
func (t *tree) sum(ctx context.Context, known *digests) error {
	for i := range t.entries {
		e := &t.entries[i]
		if !e.mode.IsRegular() {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.digest = known.find(e.path); e.digest != "" {
			continue
		}
		f, err := t.openFile(e.path)
		if err != nil {
			return err
		}
		h := sha256.New()
		e.size, err = io.Copy(h, f)
		e.digest = hex.EncodeToString(h.Sum(nil))
		known.learn(e.path, f, e.digest)
		_ = f.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// write puts the tree into an archive, below the folder prefix. Owners are root. A file that is not
// what it was when it was listed is an error: the image would not be what its key says.
func (t *tree) write(ctx context.Context, tw *tar.Writer, prefix string, perm func(fs.FileMode) fs.FileMode) error {
	for _, e := range t.entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h := &tar.Header{Name: path.Join(prefix, e.path), Mode: unixMode(perm(e.mode)), Typeflag: tar.TypeReg, Size: e.size, ModTime: time.Unix(0, e.time)}
		if t.lone {
			h.Name = prefix
		}
		switch {
		case e.mode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case e.mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if e.mode.IsRegular() {
			if err := t.copy(tw, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tree) copy(to io.Writer, e entry) error {
	f, err := t.openFile(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(f, e.size))
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	same := n == e.size && info.Size() == e.size
	if e.digest != "" {
		same = same && hex.EncodeToString(h.Sum(nil)) == e.digest
	} else {
		same = same && info.ModTime().UnixNano() == e.time
	}
	if !same {
		return fmt.Errorf("%s changed while it was being sent: try again", e.path)
	}
	return nil
}

func (t *tree) close() { _ = t.root.Close() } // it was only read

// asItIs keeps permissions.
func asItIs(m fs.FileMode) fs.FileMode { return m }

// unixMode is m's permissions as archives write them.
func unixMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	for bit, value := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			mode |= value
		}
	}
	return mode
}
