//go:build linux

package cork

import (
	"errors"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// feed holds input on its way to a command, at most wire.StdinWindow bytes, so that frames behind
// it on the stream, a signal above all, don't wait for a command that does not read.
type feed struct {
	ch       *child
	mu       sync.Mutex
	cond     sync.Cond
	buf      []byte
	held     int  // in buf and in the write under way
	finished bool // no more will come
	over     bool // nobody wants it any more
}

func newFeed(ch *child) *feed {
	f := &feed{ch: ch}
	f.cond.L = &f.mu
	return f
}

// push takes input in; more than was granted is the warden's error.
func (f *feed) push(p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.finished {
		return errors.New("input after its end")
	}
	if f.held+len(p) > wire.StdinWindow {
		return errors.New("more input than was granted")
	}
	f.held += len(p)
	f.buf = append(f.buf, p...)
	f.cond.Signal()
	return nil
}

// finish says that no more input comes.
func (f *feed) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finished = true
	f.cond.Signal()
}

// end makes run return.
func (f *feed) end() {
	f.mu.Lock()
	f.over = true
	f.cond.Signal()
	f.mu.Unlock()
	_ = f.ch.stdin.SetWriteDeadline(past) // fails for a closed file, which nobody writes to
}

// run writes the input to the command and grants the warden what was taken. A command that closed
// its input has the rest dropped, as a shell's pipe would drop it.
func (f *feed) run(frames *wire.FrameWriter) {
	broken := false
	var spare []byte
	for {
		f.mu.Lock()
		for len(f.buf) == 0 && !f.finished && !f.over {
			f.cond.Wait()
		}
		p := f.buf
		f.buf = spare[:0]
		over := f.over
		f.mu.Unlock()
		switch {
		case over:
			return
		case len(p) == 0:
			f.hangUp()
			return
		}
		if !broken {
			_, err := f.ch.stdin.Write(p)
			broken = err != nil
		}
		f.mu.Lock()
		f.held -= len(p)
		f.mu.Unlock()
		if frames.Credit(len(p)) != nil {
			return // the warden is gone
		}
		spare = p
	}
}

// hangUp gives the command its end of input.
func (f *feed) hangUp() {
	if f.ch.terminal == nil {
		_ = f.ch.stdin.Close() // a pipe's close has nothing to report
		return
	}
	// A terminal has no end; the end-of-file character is what a person would type.
	_, _ = f.ch.stdin.Write([]byte{4}) // the command may have ended
}
