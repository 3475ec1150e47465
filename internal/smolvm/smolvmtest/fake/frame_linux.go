package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// A connection to a machine's agent carries frames: a kind, four bytes of length, the bytes. The first
// is a request; the last of the answer is frameExit or frameError.
const (
	frameRequest = 'R' // to the agent: a request
	frameStdin   = 'i' // to the agent: bytes for standard input, none for its end
	frameSize    = 'w' // to the agent: rows and columns of the terminal
	frameStdout  = 'o'
	frameStderr  = 'e'
	frameExit    = 'x' // an exited
	frameError   = 'E' // what went wrong, in words
)

const frameMax = 16 << 20

// request is what the agent is asked for.
type request struct {
	Op      string // ping, exec, put or get
	Mode    string // of exec: plain, stream, pipe, tty or detach
	Argv    []string
	Env     []string
	Dir     string
	Timeout int64 // milliseconds, 0 for none

	Path     string // of put and get
	Size     int64
	Mode8    *uint32
	UID, GID *uint32
}

// exited is how a command ended.
type exited struct {
	Code     int
	TimedOut bool
	Pid      int // of a detached one, which goes on
}

// size is a terminal's.
type size struct{ Rows, Cols uint16 }

func writeFrame(w io.Writer, kind byte, payload []byte) error {
	b := make([]byte, 5, 5+len(payload))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

func writeJSON(w io.Writer, kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, kind, b)
}

func readFrame(r io.Reader) (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > frameMax {
		return 0, nil, errors.New("frame too large")
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}

// descriptor reads and writes a descriptor that Go's own poller does not know.
type descriptor int

func (d descriptor) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(d), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write writes everything, also where somebody has made the descriptor non-blocking.
func (d descriptor) Write(b []byte) (n int, err error) {
	for n < len(b) {
		k, err := unix.Write(int(d), b[n:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			_, _ = poll([]unix.PollFd{{Fd: int32(d), Events: unix.POLLOUT}}, -1)
		case err != nil:
			return n, err
		default:
			n += k
		}
	}
	return n, nil
}

func poll(fds []unix.PollFd, milliseconds int) (int, error) {
	n, err := unix.Poll(fds, milliseconds)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, err
}
