//go:build linux

package jail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts puts the bottle's mounts in place.
func (b *builder) mounts(trees []tree) error {
	for i, m := range b.spec.Mounts {
		t := trees[i]
		trees[i] = -1
		if err := b.attach(t, m.Target); err != nil {
			return err
		}
	}
	return nil
}

// split tells files of the jail's root, which are simply written, from those in mounts, where a
// file is mounted over what is there.
func (b *builder) split(files []File) (early, late []placed) {
	over := []string{"/usr", "/nix", "/proc", "/dev", "/tmp", "/run", "/var/tmp"}
	for _, m := range b.spec.Mounts {
		over = append(over, m.Target)
	}
	off := int64(0)
	for _, f := range files {
		p := placed{f, off}
		off += f.Size
		if under(f.Path, over) {
			late = append(late, p)
		} else {
			early = append(early, p)
		}
	}
	return early, late
}

// placed is a file and where its content begins in the blob.
type placed struct {
	File
	off int64
}

// content reads the file's part of the blob, whose whole size the holder has bounded.
func (p placed) content(blob *os.File) ([]byte, error) {
	data := make([]byte, p.Size)
	if _, err := blob.ReadAt(data, p.off); err != nil && p.Size > 0 {
		return nil, fmt.Errorf("content of %s: %w", p.Path, err)
	}
	return data, nil
}

func under(path string, dirs []string) bool {
	for _, d := range dirs {
		if path == d || strings.HasPrefix(path, strings.TrimSuffix(d, "/")+"/") {
			return true
		}
	}
	return false
}

func (b *builder) write(files []placed, blob *os.File) error {
	for _, f := range files {
		data, err := f.content(blob)
		if err == nil {
			err = b.file(f.Path, uint32(f.Mode.Perm()), data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overlay mounts files over paths in mounts. Their content lives on in the mount when the name it
// was written under is gone.
func (b *builder) overlay(files []placed, blob *os.File) error {
	for i, f := range files {
		name := ".file-" + strconv.Itoa(i)
		data, err := f.content(blob)
		if err == nil {
			err = b.file("/"+name, uint32(f.Mode.Perm()), data)
		}
		if err != nil {
			return err
		}
		t, err := clone(int(b.root), name, frozen)
		if err == nil {
			err = b.attach(t, f.Path)
		}
		if err = errors.Join(err, unix.Unlinkat(int(b.root), name, 0)); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}
