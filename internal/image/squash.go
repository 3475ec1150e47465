package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/archive"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// epoch is the time of whatever has none, so that the same content has the same digest.
var epoch = time.Unix(0, 0).UTC()

// Extra is a file of this host to be laid over an image, owned by root. What the image has at its
// path goes; what is no folder on the way there becomes one.
type Extra struct {
	Path   string      // where it is to be: absolute, clean
	Mode   fs.FileMode // permissions
	Source string      // the file on this host
}

// squashed is an image of one layer, ready to be served.
type squashed struct {
	manifest, config []byte
	layer            *os.File
	size             int64
	layerDigest      string
}

// squash writes l, with extra over it, as one packed layer to a scratch file, and makes an image
// of it.
func (s *supply) squash(ctx context.Context, l *layered, extra []Extra) (_ *squashed, err error) {
	m := newMerge()
	var total int64
	for _, b := range l.layers {
		total += b.Size()
	}
	s.need += total
	var done int64
	for n, b := range l.layers {
		if err := s.read(ctx, m, b, total, &done); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			return nil, damaged(s.ref, fmt.Errorf("layer %d: %w", n+1, err))
		}
	}
	ours := map[*inode]Extra{}
	for _, x := range extra {
		ino := &inode{}
		ours[ino] = x
		if err := m.put(len(l.layers), x.Path[1:], ino); err != nil {
			return nil, fmt.Errorf("lay %s over the image %s: %w", x.Path, s.ref, err)
		}
	}

	out := &squashed{}
	if out.layer, err = s.scratch(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = out.layer.Close() // it goes with it
		}
	}()
	w := s.pack(out.layer)
	tw := &taker{tw: tar.NewWriter(w)}
	err = s.write(ctx, tw, m, l, ours, total)
	if err == nil {
		err = tw.tw.Close()
	}
	if werr := w.end(err); werr != nil { // what failed first, when both did
		err = werr
	}
	if err != nil {
		return nil, s.disk(err)
	}
	out.size, out.layerDigest = w.size, w.packed.String()
	return out, out.describe(l.config, w)
}

// read takes the names of one layer.
func (s *supply) read(ctx context.Context, m *merge, b *io.SectionReader, total int64, done *int64) error {
	if !packed(b) { // a tar that can seek is passed over quickly
		*done += b.Size()
		return m.layer(ctx, io.NewSectionReader(b, 0, b.Size()))
	}
	in := s.meter(ctx, io.NewSectionReader(b, 0, b.Size()), "reading", total)
	in.done = *done
	r, end, err := uncompressed(in, b)
	if err != nil {
		return err
	}
	defer end()
	err = m.layer(ctx, r)
	*done += b.Size()
	return err
}

// write writes the merged image: its folders, then what is in them, layer by layer, each file
// followed by its hard links, then what is ours.
func (s *supply) write(ctx context.Context, tw *taker, m *merge, l *layered, ours map[*inode]Extra, total int64) error {
	for _, h := range m.folders() {
		if err := tw.header(h); err != nil {
			return err
		}
	}
	in := s.meter(ctx, nil, "squashing", total)
	for n, b := range l.layers {
		in.r = io.NewSectionReader(b, 0, b.Size())
		err := tw.layer(in, b, m.at[n], l.config.RootFS.DiffIDs[n].String())
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if bad, ok := errors.AsType[*unreadable](err); ok {
			return damaged(s.ref, fmt.Errorf("layer %d: %w", n+1, bad.err))
		}
		if err != nil {
			return err
		}
	}
	names := make([]*inode, 0, len(ours))
	for ino := range ours {
		if len(ino.names) > 0 { // none when two are for one path
			names = append(names, ino)
		}
	}
	slices.SortFunc(names, func(a, b *inode) int { return strings.Compare(a.names[0], b.names[0]) })
	for _, ino := range names {
		if err := s.extra(ctx, tw, ino.names[0], ours[ino]); err != nil {
			return err
		}
	}
	return nil
}

// unreadable is an error of what is read, not of where it is written to.
type unreadable struct{ err error }

func (u *unreadable) Error() string { return u.err.Error() }

// taker writes the one layer.
type taker struct {
	tw    *tar.Writer
	bytes int64
}

func (t *taker) header(h *tar.Header) error {
	if t.bytes += h.Size; t.bytes > archive.MaxBytes {
		return fmt.Errorf("the image's files are more than %d GiB", archive.MaxBytes>>30)
	}
	if err := t.tw.WriteHeader(h); err != nil {
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	return nil
}

// layer copies those of a layer's entries that are left, and checks that the layer is the one that
// the image's configuration means.
func (t *taker) layer(in io.Reader, b io.ReaderAt, at map[int]*inode, want string) error {
	r, end, err := uncompressed(in, b)
	if err != nil {
		return &unreadable{err}
	}
	defer end()
	sum := sha256.New()
	r = io.TeeReader(r, sum)
	tr := tar.NewReader(r)
	for i := 0; ; i++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &unreadable{err}
		}
		if ino := at[i]; ino != nil && len(ino.names) > 0 {
			if err := t.copy(ino, plain(h), tr); err != nil {
				return err
			}
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return &unreadable{err}
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != want {
		return &unreadable{fmt.Errorf("its digest is %s, and the image is made of %s", got, want)}
	}
	return nil
}

func (t *taker) copy(ino *inode, h *tar.Header, r io.Reader) error {
	h.Name = ino.names[0]
	if err := t.header(h); err != nil {
		return err
	}
	if h.Size > 0 {
		read := &noting{r: r}
		if _, err := io.Copy(t.tw, read); err != nil {
			if read.err != nil {
				return &unreadable{read.err}
			}
			return err
		}
	}
	for _, name := range ino.names[1:] {
		link := *h
		link.Typeflag, link.Name, link.Linkname, link.Size = tar.TypeLink, name, ino.names[0], 0
		if err := t.header(&link); err != nil {
			return err
		}
	}
	return nil
}

// noting keeps the error of a reader apart from that of a writer.
type noting struct {
	r   io.Reader
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	got, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return got, err
}

// extra writes a file of this host.
func (s *supply) extra(ctx context.Context, t *taker, name string, x Extra) error {
	f, info, err := x.open()
	if err != nil {
		return err
	}
	defer f.Close()
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(x.Mode.Perm()), Size: info.Size(), ModTime: epoch}
	if err := t.header(h); err != nil {
		return err
	}
	n, err := io.Copy(t.tw, s.meter(ctx, io.LimitReader(f, h.Size), "adding to", h.Size))
	if err == nil && n != h.Size {
		err = fmt.Errorf("%s became shorter while it was read", x.Source)
	}
	return err
}

// open opens the file on this host.
func (x Extra) open() (*os.File, fs.FileInfo, error) {
	if !path.IsAbs(x.Path) || path.Clean(x.Path) != x.Path || x.Path == "/" || len(x.Path) > pathMax {
		return nil, nil, fmt.Errorf("image: %s is to be at %q, which is no clean absolute path", x.Source, x.Path)
	}
	f, err := os.OpenFile(x.Source, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("for %s in the image: %w", x.Path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("for %s in the image: %s is no plain file", x.Path, x.Source)
	}
	if err != nil {
		_ = f.Close() // it was only read
		return nil, nil, err
	}
	return f, info, nil
}

// describe makes the configuration and the manifest. Nothing of them hangs on the time or the
// place, and nothing of the old configuration is left that would start something: the machine runs
// our program.
func (q *squashed) describe(old *v1.ConfigFile, w *packer) error {
	diff, err := v1.NewHash(w.plain.String())
	if err != nil {
		return err
	}
	now := v1.Time{Time: epoch}
	q.config, err = json.Marshal(v1.ConfigFile{
		Architecture: old.Architecture, OS: "linux", Variant: old.Variant, Created: now,
		History: []v1.History{{Created: now, CreatedBy: "claude-bottle"}},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diff}},
		Config:  v1.Config{Env: old.Config.Env, WorkingDir: old.Config.WorkingDir},
	})
	if err != nil {
		return err
	}
	config, err := v1.NewHash(digestOfBytes(q.config))
	if err != nil {
		return err
	}
	layer, err := v1.NewHash(q.layerDigest)
	if err != nil {
		return err
	}
	q.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(q.config)), Digest: config},
		Layers: []v1.Descriptor{{MediaType: types.OCILayer, Size: q.size, Digest: layer}},
	})
	return err
}

// packer packs a stream into a file, in a goroutine of its own: reading and packing take about the
// same time each.
type packer struct {
	in            *bufio.Writer
	pipe          *io.PipeWriter
	plain, packed *summing
	size          int64
	done          chan error
}

// summing is a running digest.
type summing struct{ hash.Hash }

func (s *summing) String() string { return "sha256:" + hex.EncodeToString(s.Sum(nil)) }

const packBuffer = 1 << 20

func (s *supply) pack(f *os.File) *packer {
	r, pipe := io.Pipe()
	p := &packer{pipe: pipe, plain: &summing{sha256.New()}, packed: &summing{sha256.New()}, done: make(chan error, 1)}
	p.in = bufio.NewWriterSize(io.MultiWriter(p.plain, pipe), packBuffer)
	go func() {
		err := p.run(r, f)
		r.CloseWithError(err) // nil when it was read to its end
		p.done <- err
	}()
	return p
}

func (p *packer) run(r io.Reader, f *os.File) error {
	out := bufio.NewWriterSize(io.MultiWriter(f, p.packed), packBuffer)
	zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed) // it is read once, on this host
	if err != nil {
		return err
	}
	if _, err = io.Copy(zip, bufio.NewReaderSize(r, packBuffer)); err != nil {
		return err
	}
	if err = zip.Close(); err == nil {
		err = out.Flush()
	}
	if err == nil {
		p.size, err = f.Seek(0, io.SeekCurrent)
	}
	return err
}

// Write implements io.Writer.
func (p *packer) Write(b []byte) (int, error) { return p.in.Write(b) }

// end ends the stream, with the error that whoever wrote it met, and waits. It returns the first
// error of both.
func (p *packer) end(err error) error {
	if err == nil {
		err = p.in.Flush()
	}
	_ = p.pipe.CloseWithError(err) // never fails; nil is the end of the stream
	if ended := <-p.done; err == nil {
		err = ended
	}
	return err
}
