package artifact

import (
	"encoding/binary"
	"errors"
	"io"
)

// A zstd frame (RFC 8878): magic, a header that says "no checksum, no size" with a window of 128 KiB,
// then blocks. A block is three bytes, little-endian (last: 1 bit, kind: 2 bits, size: 21 bits), and its
// bytes as they are, since its kind is "raw".
var frameHeader = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38}

const blockSize = 128 << 10

// rawWriter writes one frame of raw blocks.
type rawWriter struct {
	w   io.Writer
	buf []byte
	on  bool
}

func (z *rawWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		take := min(blockSize-len(z.buf), len(p))
		z.buf, p, n = append(z.buf, p[:take]...), p[take:], n+take
		if len(z.buf) == blockSize {
			if err := z.flush(0); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Close ends the frame; the writer underneath stays open.
func (z *rawWriter) Close() error { return z.flush(1) }

func (z *rawWriter) flush(last uint32) error {
	var head [4]byte
	binary.LittleEndian.PutUint32(head[:], last|uint32(len(z.buf))<<3)
	out := append(head[:3:3], z.buf...)
	if !z.on {
		out = append(frameHeader[:len(frameHeader):len(frameHeader)], out...)
		z.on = true
	}
	z.buf = z.buf[:0]
	_, err := z.w.Write(out)
	return err
}

// rawReader reads what rawWriter writes.
type rawReader struct {
	r    io.Reader
	left int
	last bool
	on   bool
}

func (z *rawReader) Read(p []byte) (int, error) {
	if !z.on {
		head := make([]byte, len(frameHeader))
		if _, err := io.ReadFull(z.r, head); err != nil {
			return 0, err
		}
		if string(head) != string(frameHeader) {
			return 0, errors.New("compression error: only raw frames are read here")
		}
		z.on = true
	}
	for z.left == 0 {
		if z.last {
			return 0, io.EOF
		}
		var head [4]byte
		if _, err := io.ReadFull(z.r, head[:3]); err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		v := binary.LittleEndian.Uint32(head[:])
		if v>>1&3 != 0 {
			return 0, errors.New("compression error: only raw blocks are read here")
		}
		z.last, z.left = v&1 == 1, int(v>>3)
	}
	n, err := z.r.Read(p[:min(len(p), z.left)])
	z.left -= n
	if err == io.EOF && z.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}
