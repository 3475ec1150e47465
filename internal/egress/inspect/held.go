package inspect

import (
	"bytes"
	"io"
	"net/http"

	"github.com/claude-bottle/claude-bottle/internal/scan/unpack"
)

// held reads the whole body and looks at it in every way there is before any of it is forwarded.
func (in *Inspector) held(j *judging, r *http.Request, key string, codings []string) (*Body, Report) {
	raw := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, raw); err != nil {
		j.opaque("the body", errCut)
		return nil, j.report()
	}
	plain := raw
	if len(codings) > 0 {
		plain = nil
		if err := in.plain(raw, codings, &plain); err != nil {
			j.opaque("the body", err)
			return nil, j.report()
		}
	}
	in.whole(j, plain, len(codings) == 0)
	in.parts(j, media(r), key, plain)
	j.trailer(r.Trailer) // it is there once the body was read
	rep := j.report()
	if rep.Stopped() {
		return nil, rep
	}
	return &Body{ReadCloser: &memory{bytes.NewReader(raw), r.Body}, report: func() Report { return rep }}, rep
}

// memory is a body that was read already.
type memory struct {
	*bytes.Reader
	io.Closer
}

// maxPlain is how much a held body may come to without its coding, in bytes.
const maxPlain = 32 << 20

// plain undoes the codings of a body.
func (in *Inspector) plain(raw []byte, codings []string, plain *[]byte) error {
	d, err := unpack.NewDecoder(codings, in.limits, func(p []byte) error {
		if len(*plain)+len(p) > maxPlain {
			return &unpack.BombError{What: "bytes in a body this small", Limit: maxPlain}
		}
		*plain = append(*plain, p...)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := d.Write(raw); err != nil {
		d.Abort()
		return err
	}
	return d.Close()
}

// whole scans a body's text and overwrites what is found where it may.
func (in *Inspector) whole(j *judging, b []byte, replaceable bool) {
	j.found = in.scanner.Scan(j.found[:0], b)
	for _, f := range j.found {
		if f := (Found{f, "the body"}); j.take(f, replaceable) {
			j.overwrite(b, 0, f)
		}
	}
}

// parts looks at what is inside the body, at its values as one text, without what stands between
// them, and at them as the next piece of what was sent before.
func (in *Inspector) parts(j *judging, m unpack.Media, key string, b []byte) {
	if j.rep.Stopped() {
		return
	}
	if !unpack.Flat(m.ContentType, b) {
		i := in.inside(m.ContentType, func(f Found) { j.take(f, false) })
		_, err := i.walker.Write(b)
		if cerr := i.walker.Close(); err == nil {
			err = cerr
		}
		if err != nil && !damaged(err) {
			j.opaque("the body", err)
		}
	}
	var parts [][]byte
	size := 0
	values := unpack.NewSplitter(m, in.limits, func(_, value []byte) bool {
		if size += len(value); len(value) > 0 && size <= maxPlain {
			parts = append(parts, bytes.Clone(value))
			if m.MessageCoding != "" { // it was not seen by who scanned the body
				j.look("a message in the body", value)
			}
		}
		return len(parts) < maxParts
	})
	_, err := values.Write(b)
	if cerr := values.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		j.opaque("the body", err)
	}
	if len(parts) == 0 {
		parts = append(parts, b)
	}
	j.joined(always("the values of the body together"), parts, true)
	in.remember(j, key, parts)
}

// media is how a request's sender says that its body is written.
func media(r *http.Request) unpack.Media {
	return unpack.Media{ContentType: r.Header.Get("Content-Type"), MessageCoding: r.Header.Get("Grpc-Encoding")}
}
