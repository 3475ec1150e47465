package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// FrameType says what a Frame carries.
type FrameType byte

// The frames of a command's or terminal's stream. Arrows tell who sends them: ">" who wants the
// command run, "<" who runs it.
const (
	FrameStdin  FrameType = iota + 1 // > bytes for its standard input or terminal
	FrameStdout                      // < bytes from its standard output or terminal
	FrameStderr                      // < bytes from its standard error
	FrameResize                      // > rows and columns, two big-endian uint16
	FrameSignal                      // > a signal's name: "SIGTERM"
	FrameExit                        // < an Exit as JSON; the last frame
	FrameEOF                         // > no more input
	FrameCredit                      // < big-endian uint32: so many more bytes of input may be sent
)

// String returns the frame type's lower-case name.
func (t FrameType) String() string {
	names := [...]string{"stdin", "stdout", "stderr", "resize", "signal", "exit", "eof", "credit"}
	if t >= 1 && int(t) <= len(names) {
		return names[t-1]
	}
	return fmt.Sprintf("frame(%d)", byte(t))
}

// MaxFrame is the largest payload a FrameWriter sends in one frame, in bytes.
const MaxFrame = 32 << 10

const frameHead = 5

// Frame is one message: a type byte, a big-endian uint32 length, the payload.
type Frame struct {
	Type FrameType
	// Payload is valid until the next call of the reader it came from.
	Payload []byte
}

// ResizeOf returns the rows and columns of a FrameResize.
func (f Frame) ResizeOf() (rows, cols uint16, err error) {
	if f.Type != FrameResize || len(f.Payload) != 4 {
		return 0, 0, fmt.Errorf("a %s frame of %d bytes is no resize", f.Type, len(f.Payload))
	}
	return binary.BigEndian.Uint16(f.Payload), binary.BigEndian.Uint16(f.Payload[2:]), nil
}

// CreditOf returns the number of a FrameCredit.
func (f Frame) CreditOf() (int, error) {
	if f.Type != FrameCredit || len(f.Payload) != 4 {
		return 0, fmt.Errorf("a %s frame of %d bytes is no credit", f.Type, len(f.Payload))
	}
	return int(binary.BigEndian.Uint32(f.Payload)), nil
}

// ExitOf returns the Exit of a FrameExit.
func (f Frame) ExitOf() (Exit, error) {
	var e Exit
	if f.Type != FrameExit {
		return e, fmt.Errorf("a %s frame is no exit", f.Type)
	}
	if err := json.Unmarshal(f.Payload, &e); err != nil {
		return e, fmt.Errorf("exit frame: %w", err)
	}
	return e, nil
}

// FrameReader reads frames. It is not safe for concurrent use.
type FrameReader struct {
	r    io.Reader
	max  int
	head [frameHead]byte
	buf  []byte
}

// NewFrameReader returns a reader of frames whose payload is at most max bytes; a larger one is an
// error before anything is allocated for it.
func NewFrameReader(r io.Reader, max int) *FrameReader { return &FrameReader{r: r, max: max} }

// Next returns the next frame. At a clean end between two frames the error is io.EOF; inside one
// it is io.ErrUnexpectedEOF.
func (r *FrameReader) Next() (Frame, error) {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return Frame{}, err
	}
	t, n := FrameType(r.head[0]), binary.BigEndian.Uint32(r.head[1:])
	if t < FrameStdin || t > FrameCredit {
		return Frame{}, fmt.Errorf("unknown frame type %d", byte(t))
	}
	if uint64(n) > uint64(r.max) {
		return Frame{}, fmt.Errorf("a %s frame of %d bytes, at most %d are allowed", t, n, r.max)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Frame{t, r.buf}, nil
}

// FrameWriter writes frames, each with one call of the Writer beneath. It is safe for concurrent
// use.
type FrameWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// NewFrameWriter returns a writer of frames to w.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Write sends payload as frames of type t, as many as MaxFrame makes it; an empty payload is one
// empty frame.
func (w *FrameWriter) Write(t FrameType, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n := min(len(payload), MaxFrame)
		w.buf = append(w.buf[:0], byte(t))
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(n))
		w.buf = append(w.buf, payload[:n]...)
		if _, err := w.w.Write(w.buf); err != nil {
			return err
		}
		if payload = payload[n:]; len(payload) == 0 {
			return nil
		}
	}
}

// Resize sends a FrameResize.
func (w *FrameWriter) Resize(rows, cols uint16) error {
	return w.Write(FrameResize, []byte{byte(rows >> 8), byte(rows), byte(cols >> 8), byte(cols)})
}

// Credit sends a FrameCredit.
func (w *FrameWriter) Credit(n int) error {
	return w.Write(FrameCredit, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// Exit sends a FrameExit.
func (w *FrameWriter) Exit(e Exit) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return w.Write(FrameExit, b)
}
