package unpack

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
)

// tar visits the members of a tar archive. Links are visited by both their names. Its reader
// bounds the memory of a header: 1 MiB of pax records or of a name.
func (w *walker) tar(b *bufio.Reader, depth int, in string) {
	tr := tar.NewReader(b)
	for w.fail == nil {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			w.shut(Tar, in, Damaged)
			return
		}
		m := Member{Name: h.Name, In: inside(in, Tar), Verbatim: true}
		if h.Linkname != "" {
			w.named(Member{Name: h.Linkname, In: m.In, Verbatim: true})
		}
		// Of a sparse file the holes are given as zeros, terabytes of them if its header says so.
		if m.Verbatim = !sparse(h); !m.Verbatim && h.Size > w.limits.Bytes {
			w.fail = &BombError{What: "decoded bytes", Limit: w.limits.Bytes}
			return
		}
		c := &content{w: w, r: tr, decoded: !m.Verbatim}
		w.member(m, c, depth+1)
		if c.damaged {
			w.shut(Tar, in, Damaged)
			return
		}
	}
}

func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if len(key) > 10 && key[:10] == "GNU.sparse" {
			return true
		}
	}
	return false
}
