package unpack

import (
	"errors"
	"io"
	"sync"
)

// A Decoder undoes the content codings of a body while the body passes by: coded bytes are written
// to it, decoded ones go to a sink. The sink is called from within Write and Close, in the
// caller's goroutine; no other is started. What was written is decoded when Write returns, except
// for the 32 KiB or the block that a coding needs the rest of.
//
// A Decoder must be ended by Close or by Abort. It is not safe for concurrent use.
type Decoder struct {
	sink func([]byte) error
	pump *pump // nil without codings
	err  error
}

// chunks are what a decoder is read into.
var chunks = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// NewDecoder returns a Decoder for the codings, in the order of Coding. Without any it hands what
// it is given to sink as it is. The slice is sink's until it returns. A coding it does not know is
// an *UnknownError.
func NewDecoder(codings []string, l Limits, sink func([]byte) error) (*Decoder, error) {
	return newDecoder(codings, newMeter(l), sink)
}

// newDecoder counts on m, which several decoders may share.
func newDecoder(codings []string, m *meter, sink func([]byte) error) (*Decoder, error) {
	for _, name := range codings {
		if _, ok := coders[name]; !ok {
			return nil, &UnknownError{Coding: name}
		}
	}
	d := &Decoder{sink: sink}
	if len(codings) == 0 {
		return d, nil
	}
	d.pump = newPump(func(src io.Reader) error {
		r, release, err := open(&counted{src, m}, codings, m)
		if err != nil {
			return err
		}
		defer release()
		return pour(r, sink)
	})
	return d, nil
}

// pour gives all of r to sink.
func pour(r io.Reader, sink func([]byte) error) error {
	buf := chunks.Get().(*[32 << 10]byte)
	defer chunks.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			if err := sink(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// counted counts what a body is sent as.
type counted struct {
	io.Reader
	m *meter
}

func (r *counted) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.m.in += int64(n)
	return n, err
}

// Write decodes p. After an error, its own, sink's or a *BombError, every later call returns it.
func (d *Decoder) Write(p []byte) (int, error) {
	if d.err == nil {
		if d.pump != nil {
			d.err = d.pump.write(p)
		} else if len(p) > 0 {
			d.err = d.sink(p)
		}
	}
	if d.err != nil {
		return 0, d.err
	}
	return len(p), nil
}

// Close tells that the body has ended. An error, io.ErrUnexpectedEOF for coded data that broke off,
// means that not all of it was decoded: the body's end must not be forwarded.
func (d *Decoder) Close() error {
	if d.pump != nil {
		err := d.pump.close()
		if d.err == nil {
			d.err = err
		}
	}
	return d.err
}

// Abort ends a Decoder whose body will not be finished. It does nothing after Close.
func (d *Decoder) Abort() {
	if d.pump != nil {
		d.pump.abort()
	}
	if d.err == nil {
		d.err = errAborted
	}
}
