package unpack

import (
	"encoding/binary"
	"strings"
)

// frames cuts a stream of gRPC's length-prefixed messages (the gRPC over HTTP/2 protocol, "Requests")
// and yields them without the prefixes, decompressed.
type frames struct {
	out     *emitter
	meter   *meter
	coding  string
	left    uint32 // of the message
	message *Decoder
}

// A message's prefix is a byte of flags and four of its length.
const (
	frameHead       = 5
	frameCompressed = 1 << 0
)

func newFrames(coding string, m *meter, out *emitter) *frames {
	coding = strings.ToLower(strings.TrimSpace(coding))
	if coding == "identity" {
		coding = ""
	}
	return &frames{out: out, meter: m, coding: coding}
}

func (f *frames) split(buf []byte, _ int, end bool) (int, int, error) {
	i := 0
	for i < len(buf) && !f.out.stopped {
		if f.left == 0 {
			if len(buf)-i < frameHead {
				if !end {
					return i, i, nil
				}
				f.out.value(buf[i:])
				return len(buf), len(buf), nil
			}
			f.left = binary.BigEndian.Uint32(buf[i+1:])
			if err := f.begin(buf[i]&frameCompressed != 0 && f.left > 0); err != nil {
				return i, i, err
			}
			i += frameHead
			continue
		}
		n := int(min(uint64(f.left), uint64(len(buf)-i), pieceSize))
		piece := buf[i : i+n]
		i += n
		f.left -= uint32(n)
		if _, err := f.message.Write(piece); err != nil && !f.out.stopped {
			return i, i, err
		}
		if f.left == 0 {
			if err := f.message.Close(); err != nil && !f.out.stopped {
				return i, i, err
			}
		}
	}
	if end && f.left > 0 && !f.out.stopped { // it broke off
		return i, i, f.message.Close()
	}
	return i, i, nil
}

// begin starts a message.
func (f *frames) begin(compressed bool) error {
	var codings []string
	if compressed {
		// One whose coding is not named is compressed by something.
		codings = []string{f.coding}
	}
	var err error
	f.message, err = newDecoder(codings, f.meter, func(p []byte) error {
		if !f.out.value(p) {
			return errAborted
		}
		return nil
	})
	return err
}

func (f *frames) abort() {
	if f.message != nil {
		f.message.Abort()
	}
}
