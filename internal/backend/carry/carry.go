// Package carry copies a bottle's folders to a system that sees no files of this host, and brings them
// home from there.
package carry

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/archive"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/workspace"
)

// Folder is a folder of this host that the agent may write to, and its path in the bottle.
type Folder struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// Bytes adds a file at the path at.
func Bytes(tw *tar.Writer, at string, mode fs.FileMode, data []byte) error {
	return add(tw, at, mode, int64(len(data)), bytes.NewReader(data))
}

func add(tw *tar.Writer, at string, mode fs.FileMode, size int64, content io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(at, "/"), Mode: int64(mode.Perm()), Size: size}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(tw, content)
	return err
}

// File adds a file of this host at the path at, with that mode.
func File(tw *tar.Writer, source, at string, mode fs.FileMode) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close() // only read
	st, err := file.Stat()
	if err != nil {
		return err
	}
	return add(tw, at, mode, st.Size(), io.LimitReader(file, st.Size()))
}

// Tree adds a folder of this host with what is in it, or a file, at the path at.
func Tree(ctx context.Context, tw *tar.Writer, source, at string) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return File(tw, source, at, st.Mode())
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := workspace.Tar(ctx, source, w, nil)
		_ = w.CloseWithError(err) // never fails
		done <- err
	}()
	at = strings.TrimPrefix(at, "/")
	err = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: at + "/", Mode: 0o755})
	if err == nil {
		err = archive.Graft(tw, tar.NewReader(r), at, nil)
	}
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the reading of the tree when writing failed
	if terr := <-done; err == nil {
		err = terr
	}
	return err
}

// Owned copies a tar with every entry given to uid and gid.
func Owned(w io.Writer, tr *tar.Reader, uid, gid int) error {
	tw := tar.NewWriter(w)
	err := archive.Graft(tw, tr, "", func(h *tar.Header) {
		h.Uid, h.Gid, h.Format = uid, gid, tar.FormatPAX
	})
	return errors.Join(err, tw.Close())
}

// Awaited reports whether a folder that was carried away is still there to come home to: where the
// bottle was removed nobody waits for it.
func Awaited(source string) bool {
	_, err := os.Lstat(source)
	return !errors.Is(err, os.ErrNotExist)
}

// Home makes dir hold what the tar r does, which is the agent's and may be anything. What dir held is
// replaced as a whole, and only when r is complete. What is no file, folder or link stays away.
func Home(dir string, r io.Reader) (err error) {
	fresh, err := os.MkdirTemp(filepath.Dir(dir), ".coming-"+filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.RemoveTree(fresh)) }()
	if _, err := archive.Unpack(r, fresh, archive.Options{PassOver: true}); err != nil {
		return err
	}
	return replace(dir, fresh)
}

// replace makes dir hold what fresh does. The folder itself stays: somebody may have it open.
func replace(dir, fresh string) error {
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range old {
		if err := state.RemoveTree(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(fresh)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := move(filepath.Join(fresh, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// move renames a file or folder. A folder that forbids to write in it can't go to another parent,
// so it allows it for that moment.
func move(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	st, serr := os.Lstat(from)
	if serr != nil || !st.IsDir() {
		return err
	}
	if err := os.Chmod(from, 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return os.Chmod(to, st.Mode().Perm())
}
