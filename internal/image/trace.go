package image

import (
	"encoding/binary"
	"errors"
)

// traceMax bounds how many vertexes and logs one message tells of; the rest is passed over.
const traceMax = 10_000

// trace is what we read of BuildKit's StatusResponse, a protocol buffer.
type trace struct {
	vertexes []vertex
	logs     []vertexLog
}

// vertex is a step of a build. BuildKit sends it again with every change.
type vertex struct {
	digest, name, failure string
	cached                bool
	started, completed    bool
}

// vertexLog is output of a step.
type vertexLog struct {
	vertex string
	data   []byte
}

var errTrace = errors.New("not a BuildKit trace")

// parseTrace reads the fields of BuildKit's control.proto that matter here and passes over all
// others, as the format asks for.
func parseTrace(b []byte) (trace, error) {
	var t trace
	err := fields(b, func(number int, value uint64, data []byte) error {
		switch number {
		case 1:
			v, err := parseVertex(data)
			if err != nil {
				return err
			}
			if len(t.vertexes) < traceMax {
				t.vertexes = append(t.vertexes, v)
			}
		case 3:
			l, err := parseLog(data)
			if err != nil {
				return err
			}
			if len(t.logs) < traceMax {
				t.logs = append(t.logs, l)
			}
		}
		return nil
	})
	return t, err
}

func parseVertex(b []byte) (v vertex, err error) {
	err = fields(b, func(number int, value uint64, data []byte) error {
		switch number {
		case 1:
			v.digest = string(data)
		case 3:
			v.name = string(data)
		case 4:
			v.cached = value != 0
		case 5:
			v.started = true
		case 6:
			v.completed = true
		case 7:
			v.failure = string(data)
		}
		return nil
	})
	return v, err
}

func parseLog(b []byte) (l vertexLog, err error) {
	err = fields(b, func(number int, value uint64, data []byte) error {
		switch number {
		case 1:
			l.vertex = string(data)
		case 4:
			l.data = data
		}
		return nil
	})
	return l, err
}

// fields calls each for the fields of a message in order: data for a length-delimited one, value
// for the others. Data shares b's memory.
func fields(b []byte, each func(number int, value uint64, data []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return errTrace
		}
		b = b[n:]
		var value uint64
		var data []byte
		switch tag & 7 {
		case 0: // varint
			if value, n = binary.Uvarint(b); n <= 0 {
				return errTrace
			}
		case 1: // 64 bit
			if n = 8; len(b) < n {
				return errTrace
			}
			value = binary.LittleEndian.Uint64(b)
		case 2: // length-delimited
			size, head := binary.Uvarint(b)
			if head <= 0 || size > uint64(len(b)-head) {
				return errTrace
			}
			n = head + int(size)
			data = b[head:n]
		case 5: // 32 bit
			if n = 4; len(b) < n {
				return errTrace
			}
			value = uint64(binary.LittleEndian.Uint32(b))
		default: // groups, long gone
			return errTrace
		}
		b = b[n:]
		if err := each(int(tag>>3), value, data); err != nil {
			return err
		}
	}
	return nil
}
