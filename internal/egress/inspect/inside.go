package inspect

import (
	"errors"
	"io"

	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/scan/unpack"
)

// inside scans what a body holds inside: the members of archives and the parts of forms, by name and
// content, and what is compressed. Bytes that stand in the body as they are were scanned with it.
type inside struct {
	in     *Inspector
	found  func(Found)
	walker *unpack.Walker
}

func (in *Inspector) inside(contentType string, found func(Found)) *inside {
	i := &inside{in: in, found: found}
	i.walker = unpack.NewWalker(contentType, in.limits, i.visit)
	return i
}

// visit scans a member's name and returns what scans its content, which the walker closes.
func (i *inside) visit(m unpack.Member) (io.Writer, error) {
	where := "what is in the body (" + m.In + ")"
	for _, f := range i.in.scanner.Scan(nil, []byte(m.Name)) {
		i.found(Found{f, where})
	}
	if m.Verbatim {
		return nil, nil
	}
	return i.in.scanner.Stream(func(f scan.Finding) { i.found(Found{f, where}) }), nil
}

// damaged reports whether err says no more than that something which began like an archive goes on
// as none. Its bytes were scanned as they stand.
func damaged(err error) bool {
	o, ok := errors.AsType[*unpack.OpaqueError](err)
	return ok && o.Reason == unpack.Damaged
}
