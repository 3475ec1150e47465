package docker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// attached is a container's attached standard files as a stream: what is written goes to its input,
// what is read is its output, and what it says on standard error is kept aside. It reads the
// engine's framing (docs.docker.com, Engine API, "Attach to a container": one byte that tells the
// stream, three zeros, a length of four bytes).
type attached struct {
	hijacked client.HijackedResponse
	words    *spawn.Words
	left     uint32 // of the frame of output that is being read
	close    sync.Once
	over     sync.Once
	ended    chan struct{} // closed when there is no more to read
}

func newAttached(h client.HijackedResponse, words *spawn.Words) *attached {
	return &attached{hijacked: h, words: words, ended: make(chan struct{})}
}

// Streams of the engine's framing.
const (
	streamOutput = 1
	streamErrors = 2
)

// maxErrorFrame bounds a frame of error output that is held at a time, in bytes; the rest is dropped.
const maxErrorFrame = 16 << 10

func (a *attached) Read(p []byte) (int, error) {
	n, err := a.read(p)
	if err != nil {
		a.over.Do(func() { close(a.ended) })
	}
	return n, err
}

func (a *attached) read(p []byte) (int, error) {
	for a.left == 0 {
		var head [8]byte
		if _, err := io.ReadFull(a.hijacked.Reader, head[:]); err != nil {
			return 0, err
		}
		size := binary.BigEndian.Uint32(head[4:])
		switch head[0] {
		case streamOutput:
			a.left = size
		case streamErrors:
			if err := a.errors(size); err != nil {
				return 0, err
			}
		default:
			return 0, fmt.Errorf("the engine sent stream %d of a container's standard files, which there is none of", head[0])
		}
	}
	n, err := a.hijacked.Reader.Read(p[:min(len(p), int(a.left))])
	a.left -= uint32(n)
	return n, cutShort(err)
}

// errors keeps what a frame says.
func (a *attached) errors(size uint32) error {
	text := make([]byte, min(size, maxErrorFrame))
	if _, err := io.ReadFull(a.hijacked.Reader, text); err != nil {
		return cutShort(err)
	}
	_, _ = a.words.Write(text) // never fails
	_, err := io.CopyN(io.Discard, a.hijacked.Reader, int64(size)-int64(len(text)))
	return cutShort(err)
}

// cutShort is err from within a frame, where there is no end that was meant.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (a *attached) Write(p []byte) (int, error) { return a.hijacked.Conn.Write(p) }

// settle waits, after the container's end, until whoever reads has all that it said, and closes.
func (a *attached) settle() {
	select {
	case <-a.ended:
	case <-time.After(spawn.LastWords):
	}
	_ = a.Close() // its end is nothing new
}

// Close ends reads and writes under way.
func (a *attached) Close() error {
	err := errors.New("closed already")
	a.close.Do(func() { err = a.hijacked.Conn.Close() })
	return err
}
