package unpack

import "io"

// NewReader undoes the codings of what is read from src, which it closes. Nothing is read before the
// first Read. A coding it does not know is an *UnknownError; what Read fails with is a Decoder's.
func NewReader(src io.ReadCloser, codings []string, l Limits) (io.ReadCloser, error) {
	for _, name := range codings {
		if _, ok := coders[name]; !ok {
			return nil, &UnknownError{Coding: name}
		}
	}
	return &reader{src: src, codings: codings, meter: newMeter(l)}, nil
}

type reader struct {
	src     io.ReadCloser
	codings []string
	meter   *meter
	plain   io.Reader // nil until the first Read
	release func()
	err     error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.plain == nil && r.err == nil {
		r.plain, r.release, r.err = open(&counted{r.src, r.meter}, r.codings, r.meter)
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.plain.Read(p)
	r.err = err
	return n, err
}

// Close must not overlap a Read.
func (r *reader) Close() error {
	if r.release != nil {
		r.release()
		r.release = nil
	}
	r.plain, r.err = nil, io.ErrClosedPipe
	return r.src.Close()
}
