package unpack

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// A coder undoes one coding. It reads src to the end of the coded data and no further, as far as
// the format lets it. Release, never nil without an error, gives the decoder back.
type coder func(src *bufio.Reader, l Limits) (r io.Reader, release func(), err error)

// coders are the codings of HTTP (the IANA HTTP content coding registry), by name.
var coders = map[string]coder{
	"gzip":    ended(gunzip),
	"deflate": ended(inflate),
	"br":      unbrotli,
	"zstd":    unzstd,
}

// bufferSize is what is read at once from below a decoder.
const bufferSize = 16 << 10

var (
	buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, bufferSize) }}
	gzips   = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zlibs   sync.Pool // of io.ReadCloser; one needs a header to be made
	flates  = sync.Pool{New: func() any { return flate.NewReader(nil) }}
	brotlis = sync.Pool{New: func() any { return brotli.NewReader(nil) }}
)

// buffered wraps r in a buffer of the pool.
func buffered(r io.Reader) (*bufio.Reader, func()) {
	b := buffers.Get().(*bufio.Reader)
	b.Reset(r)
	return b, func() {
		b.Reset(nil)
		buffers.Put(b)
	}
}

// members reads the members of a gzip file one after the other (RFC 1952, section 2.2). It stops
// before what is no member.
type members struct {
	src *bufio.Reader
	z   *gzip.Reader
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		if magic, _ := m.src.Peek(2); len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b {
			return 0, io.EOF
		}
		if err := m.reset(); err != nil {
			return 0, err
		}
	}
}

func (m *members) reset() error {
	err := m.z.Reset(m.src)
	m.z.Multistream(false)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // within a header
	}
	return err
}

func gunzip(src *bufio.Reader, _ Limits) (io.Reader, func(), error) {
	m := &members{src, gzips.Get().(*gzip.Reader)}
	release := func() { gzips.Put(m.z) }
	if err := m.reset(); err != nil {
		release()
		return nil, nil, err
	}
	return m, release, nil
}

// errDeflate refuses data that is a zlib stream to one receiver and a raw deflate stream to another.
var errDeflate = errors.New("deflate: can be read with and without a zlib header: use gzip")

// inflate reads HTTP's "deflate": a zlib stream (RFC 9110, section 8.4.1.2), or the raw deflate data
// that some programs send under that name.
func inflate(src *bufio.Reader, l Limits) (io.Reader, func(), error) {
	b, err := src.Peek(5)
	if len(b) < 2 {
		return nil, nil, unexpected(err)
	}
	if !zlibHeader(b) {
		return rawInflate(src, l)
	}
	// A first byte of 0x?8 is a stored block to a raw reader, its length before its complement.
	if len(b) == 5 && b[1] == ^b[3] && b[2] == ^b[4] {
		return nil, nil, errDeflate
	}
	return zlibInflate(src, l)
}

func zlibInflate(src *bufio.Reader, _ Limits) (io.Reader, func(), error) {
	z, ok := zlibs.Get().(io.ReadCloser)
	var err error
	if ok {
		err = z.(zlib.Resetter).Reset(src, nil)
	} else if z, err = zlib.NewReader(src); err != nil {
		return nil, nil, err
	}
	release := func() { zlibs.Put(z) }
	if err != nil {
		release()
		return nil, nil, err
	}
	return z, release, nil
}

func rawInflate(src *bufio.Reader, _ Limits) (io.Reader, func(), error) {
	z := flates.Get().(io.ReadCloser)
	release := func() { flates.Put(z) }
	if err := z.(flate.Resetter).Reset(src, nil); err != nil {
		release()
		return nil, nil, err
	}
	return z, release, nil
}

func unbrotli(src *bufio.Reader, l Limits) (io.Reader, func(), error) {
	b, err := src.Peek(1)
	if len(b) < 1 {
		return nil, nil, unexpected(err)
	}
	if window := brotliWindow(b[0]); window > l.Window {
		return nil, nil, &BombError{What: "bytes of brotli window", Limit: l.Window}
	}
	z := brotlis.Get().(*brotli.Reader)
	release := func() { brotlis.Put(z) }
	if err := z.Reset(src); err != nil {
		release()
		return nil, nil, err
	}
	return z, release, nil
}

// brotliWindow is the window a stream announces in its first byte (RFC 7932, section 9.1).
func brotliWindow(b byte) int64 {
	switch {
	case b&1 == 0:
		return 1 << 16
	case b>>1&7 != 0:
		return 1 << (17 + b>>1&7)
	case b>>4&7 > 1:
		return 1 << (8 + b>>4&7)
	}
	return 1 << 17
}

// zstds are decoders by the window they allow: it can't be changed later.
var zstds sync.Map // of int64 to *sync.Pool

func unzstd(src *bufio.Reader, l Limits) (io.Reader, func(), error) {
	known, ok := zstds.Load(l.Window)
	if !ok {
		known, _ = zstds.LoadOrStore(l.Window, &sync.Pool{})
	}
	pool := known.(*sync.Pool)
	z, ok := pool.Get().(*zstd.Decoder)
	if !ok {
		var err error
		// One at a time: it must read in the goroutine it is read from, and start none.
		z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(max(l.Window, zstd.MinWindowSize))))
		if err != nil {
			return nil, nil, err
		}
	}
	release := func() {
		_ = z.Reset(nil) // lets go of src
		pool.Put(z)
	}
	if err := z.Reset(src); err != nil {
		release()
		return nil, nil, err
	}
	return &zstdReader{z, l.Window}, release, nil
}

// zstdReader names the limit in what zstd says about it.
type zstdReader struct {
	*zstd.Decoder
	window int64
}

func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.Decoder.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = &BombError{What: "bytes of zstd window", Limit: z.window}
	}
	return n, err
}

func unbzip2(src *bufio.Reader, _ Limits) (io.Reader, func(), error) {
	return bzip2.NewReader(src), func() {}, nil
}

// ended lets nothing follow the coded data.
func ended(c coder) coder {
	return func(src *bufio.Reader, l Limits) (io.Reader, func(), error) {
		r, release, err := c(src, l)
		if err != nil {
			return nil, nil, err
		}
		return &endReader{r, src}, release, nil
	}
}

type endReader struct {
	io.Reader
	src *bufio.Reader
}

func (e *endReader) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		if _, err := e.src.Peek(1); err == nil {
			return n, errTrailing
		} else if !errors.Is(err, io.EOF) {
			return n, err
		}
	}
	return n, err
}

// unexpected is err, or for an end that came too early the error that says so.
func unexpected(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// metered counts what a decoder gives.
type metered struct {
	io.Reader
	m *meter
}

func (r *metered) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if bomb := r.m.count(n); bomb != nil {
		return 0, bomb
	}
	return n, err
}

// open undoes codings, the last first. An empty src is empty whatever its codings: programs name
// them for bodies they don't send.
func open(src io.Reader, codings []string, m *meter) (io.Reader, func(), error) {
	var releases []func()
	release := func() {
		for i := len(releases) - 1; i >= 0; i-- {
			releases[i]()
		}
	}
	for i := len(codings) - 1; i >= 0; i-- {
		b, done := buffered(src)
		releases = append(releases, done)
		if _, err := b.Peek(1); errors.Is(err, io.EOF) && i == len(codings)-1 {
			return b, release, nil
		}
		r, done, err := coders[codings[i]](b, m.limits)
		if err != nil {
			release()
			return nil, nil, fmt.Errorf("%s: %w", codings[i], err)
		}
		releases = append(releases, done)
		src = &metered{&named{r, codings[i]}, m}
	}
	return src, release, nil
}

// named says in errors which coding they are about.
type named struct {
	io.Reader
	coding string
}

func (r *named) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", r.coding, err)
	}
	return n, err
}
