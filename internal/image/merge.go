package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/archive"
)

const (
	hidePrefix = ".wh."                  // ".wh.NAME" hides NAME of the layers below
	hideOwn    = hidePrefix + hidePrefix // what a file system kept for itself
	hideAll    = hideOwn + ".opq"        // hides all that the layers below have in its folder

	pathMax = 4096 // bytes of a name with its folders, as Linux has it
)

// merge lays layers over each other, names alone: what a container made from them would see. The
// contents stay where they are, so that an image of any size takes little memory.
//
// The library has this too (mutate.Extract). It goes from the top down in one pass and gives a
// name to each file as it comes; a hard link whose first name an upper layer replaced or hid then
// leads to the wrong file or nowhere, and links that lead above the root are left out.
type merge struct {
	root  *node
	nodes int
	at    []map[int]*inode // by layer, by number of the entry in it
}

// node is a name: of a folder, or of something that is none.
type node struct {
	layer  int         // that spoke of it last
	swept  int         // the layer, counted from 1, that hid all that was below
	inode  *inode      // nil for a folder
	folder *tar.Header // what a folder is like; nil when no layer says
	below  map[string]*node
}

// inode is a file, link or device, by all names that are left of it. It stands for the bytes at
// its entry.
type inode struct{ names []string }

func newMerge() *merge { return &merge{root: &node{below: map[string]*node{}}} }

// place is where an entry belongs, relative to the root, which is "". Nothing leads above that.
func place(name string) (string, error) {
	name = path.Clean("/" + name)[1:]
	if len(name) > pathMax {
		return "", fmt.Errorf("the name %.40q… has more than %d bytes", name, pathMax)
	}
	return name, nil
}

// layer lays one more over what is there. Whiteouts hide what is below the layer, wherever in it
// they stand.
func (m *merge) layer(ctx context.Context, r io.Reader) error {
	n := len(m.at)
	at := map[int]*inode{}
	m.at = append(m.at, at)
	tr := tar.NewReader(r)
	for i := 0; ; i++ {
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
		if i > archive.MaxEntries {
			return fmt.Errorf("it has more than %d entries", archive.MaxEntries)
		}
		name, err := place(h.Name)
		if err != nil {
			return err
		}
		dir, base := path.Split(name)
		switch {
		case h.Typeflag == tar.TypeXGlobalHeader:
		case base == hideAll:
			if d := m.find(dir); d != nil && d.inode == nil && d.swept != n+1 {
				d.sweep(n)
				d.swept = n + 1
			}
		case strings.Contains("/"+name, "/"+hideOwn):
		case strings.HasPrefix(base, hidePrefix):
			if d := m.find(dir); d != nil && d.inode == nil {
				d.hide(base[len(hidePrefix):], n)
			}
		default:
			if at[i], err = m.entry(n, name, h); err != nil {
				return err
			}
			if at[i] == nil {
				delete(at, i)
			}
		}
	}
}

// entry lays one entry over what is there, and returns its inode when it brings one.
func (m *merge) entry(n int, name string, h *tar.Header) (*inode, error) {
	switch h.Typeflag {
	case tar.TypeDir:
		d, err := m.dir(n, name)
		if err != nil {
			return nil, err
		}
		d.layer, d.folder = n, plain(h)
		return nil, nil
	case tar.TypeLink:
		to, err := place(h.Linkname)
		if err != nil {
			return nil, err
		}
		target := m.find(to)
		if target == nil || target.inode == nil {
			return nil, fmt.Errorf("%q is a hard link to %q, which is no file", h.Name, h.Linkname)
		}
		return nil, m.put(n, name, target.inode)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		ino := &inode{}
		return ino, m.put(n, name, ino)
	}
	return nil, fmt.Errorf("%q is of type %q, which no file system has", h.Name, h.Typeflag)
}

// find returns the node of a name, which may end in a slash; nil when there is none.
func (m *merge) find(name string) *node {
	d := m.root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			return d
		}
		if d = d.below[part]; d == nil {
			return nil
		}
	}
	return d
}

// dir returns the folder of a name for layer n. What is in its way and is no folder, a symbolic
// link for one, gives way to one.
func (m *merge) dir(n int, name string) (*node, error) {
	d := m.root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			break
		}
		next := d.below[part]
		if next == nil || next.inode != nil {
			if err := m.count(); err != nil {
				return nil, err
			}
			next = &node{layer: n, below: map[string]*node{}}
			d.below[part] = next
		}
		d = next
	}
	return d, nil
}

// put gives an inode one more name.
func (m *merge) put(n int, name string, ino *inode) error {
	if name == "" {
		return errors.New("the root is to be no folder")
	}
	dir, base := path.Split(name)
	d, err := m.dir(n, dir)
	if err == nil {
		err = m.count()
	}
	if err != nil {
		return err
	}
	d.below[base] = &node{layer: n, inode: ino}
	return nil
}

func (m *merge) count() error {
	if m.nodes++; m.nodes > 2*archive.MaxEntries {
		return fmt.Errorf("it has more than %d names", 2*archive.MaxEntries)
	}
	return nil
}

// hide takes away what layers before n put at a name in d.
func (d *node) hide(base string, n int) {
	c := d.below[base]
	if c == nil || c.inode != nil {
		if c != nil && c.layer < n {
			delete(d.below, base)
		}
		return
	}
	left := c.sweep(n)
	switch {
	case c.layer == n:
	case left: // a new folder, that layer n does not describe
		c.layer, c.folder = n, nil
	default:
		delete(d.below, base)
	}
}

// sweep takes away what layers before n put below d, and reports whether anything is left.
func (d *node) sweep(n int) bool {
	for name := range d.below {
		d.hide(name, n)
	}
	return len(d.below) > 0
}

// folders returns all folders with their names, parents first, and gives inodes the names that are
// left of them, in order.
func (m *merge) folders() []*tar.Header {
	var all []*tar.Header
	if m.root.folder != nil {
		h := *m.root.folder
		h.Name = "./"
		all = append(all, &h)
	}
	var walk func(d *node, under string)
	walk = func(d *node, under string) {
		for _, base := range slices.Sorted(maps.Keys(d.below)) {
			c, name := d.below[base], under+base
			if c.inode != nil {
				c.inode.names = append(c.inode.names, name)
				continue
			}
			h := tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch}
			if c.folder != nil {
				h = *c.folder
			}
			h.Name = name + "/"
			all = append(all, &h)
			walk(c, h.Name)
		}
	}
	walk(m.root, "")
	return all
}

// plain is what counts of a header: no names of users, no times but the last change, no records of
// how a tar was made.
func plain(h *tar.Header) *tar.Header {
	p := &tar.Header{
		Typeflag: h.Typeflag, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid,
		ModTime: h.ModTime, Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	if h.Typeflag == tar.TypeGNUSparse || h.Typeflag == tar.TypeCont {
		p.Typeflag = tar.TypeReg
	}
	if p.Typeflag != tar.TypeReg {
		p.Size = 0
	}
	if p.Typeflag != tar.TypeSymlink {
		p.Linkname = ""
	}
	if p.Typeflag != tar.TypeChar && p.Typeflag != tar.TypeBlock {
		p.Devmajor, p.Devminor = 0, 0
	}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, "SCHILY.xattr.") && v != "" {
			if p.PAXRecords == nil {
				p.PAXRecords = map[string]string{}
			}
			p.PAXRecords[k] = v
		}
	}
	if p.ModTime.Nanosecond() != 0 {
		p.Format = tar.FormatPAX // the others would round
	}
	return p
}
