package archive

import (
	"archive/tar"
	"errors"
	"io"
	"path"
)

// Graft copies every entry of tr to tw, below dir when that is not empty. Change, when not nil, may
// edit each header first. It ends neither archive.
func Graft(tw *tar.Writer, tr *tar.Reader, dir string, change func(*tar.Header)) error {
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if dir != "" {
			folder := h.Typeflag == tar.TypeDir
			if h.Name = path.Join(dir, h.Name); folder {
				h.Name += "/"
			}
		}
		if change != nil {
			change(h)
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(tw, tr); err != nil {
			return err
		}
	}
}
