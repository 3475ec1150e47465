package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// StdinWindow is how many bytes of input may be on their way to a command that reads none. It is
// accounted for apart from the stream's own window, so that a signal is never stuck behind input.
const StdinWindow = 256 << 10

// Process is a command running in the bottle.
type Process struct {
	// Stdin takes its input; closing it means no more comes (an end-of-file character on a TTY).
	Stdin io.WriteCloser
	// Stdout and Stderr yield its output to the end; on a TTY everything comes by Stdout. Some of
	// it is buffered; beyond that an output nobody reads holds the command up, and with it the
	// other output.
	Stdout, Stderr io.Reader

	st       *Stream
	frames   *FrameWriter
	out, err *conduit
	in       *stdin
	done     chan struct{}
	exit     Exit
	failure  error
}

// Exec starts a command in the bottle. When ctx ends, also after Exec has returned, the command
// and its process group are killed. That it could not be started is told by Wait's Exit.
func Exec(ctx context.Context, s *Session, c Command) (*Process, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("exec: a command needs at least a program")
	}
	st, err := s.Open(ctx, KindExec, c)
	if err != nil {
		return nil, err
	}
	p := &Process{st: st, frames: NewFrameWriter(st), out: newConduit(), err: newConduit(), done: make(chan struct{})}
	p.in = &stdin{frames: p.frames, credit: StdinWindow}
	p.in.cond.L = &p.in.mu
	p.Stdin, p.Stdout, p.Stderr = p.in, p.out, p.err
	stop := context.AfterFunc(ctx, func() {
		// A conduit nobody reads may hold receive up; ending it lets it see the reset.
		p.out.end(context.Cause(ctx))
		p.err.end(context.Cause(ctx))
		st.Reset("the command was cancelled")
	})
	go func() {
		defer close(p.done) // Wait is the owner
		p.exit, p.failure = p.receive()
		stop()
		end := io.EOF
		if p.failure != nil {
			p.failure = fmt.Errorf("exec %q: %w", c.Argv[0], causeOf(ctx, p.failure))
			end = p.failure
		}
		p.out.end(end)
		p.err.end(end)
		p.in.end()
		_ = st.Close() // all that matters was said
	}()
	return p, nil
}

// receive sorts what comes until the exit does.
func (p *Process) receive() (Exit, error) {
	r := NewFrameReader(p.st, MaxFrame)
	for {
		f, err := r.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // no exit was told
			}
			return Exit{}, err
		}
		switch f.Type {
		case FrameStdout:
			p.out.write(f.Payload)
		case FrameStderr:
			p.err.write(f.Payload)
		case FrameCredit:
			n, err := f.CreditOf()
			if err == nil {
				err = p.in.grant(n)
			}
			if err != nil {
				return Exit{}, err
			}
		case FrameExit:
			return f.ExitOf()
		default:
			return Exit{}, fmt.Errorf("cork sent a %s frame", f.Type)
		}
	}
}

// Resize tells a command with a TTY its window's new size in characters.
func (p *Process) Resize(rows, cols uint16) error { return p.frames.Resize(rows, cols) }

// Signal sends a signal, "SIGTERM" or "TERM", to the command's process group. It is no error if
// the command ends meanwhile; an unknown name is ignored by cork.
func (p *Process) Signal(name string) error { return p.frames.Write(FrameSignal, []byte(name)) }

// Done is closed when Wait would return at once.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns how the command ended; it may be called more than once. The error is nil unless
// the wire failed or ctx ended before that. Outputs larger than the buffer must be read, or else
// the command does not end.
func (p *Process) Wait() (Exit, error) {
	<-p.done
	return p.exit, p.failure
}

// stdin sends input as far as cork has granted credit.
type stdin struct {
	frames *FrameWriter
	mu     sync.Mutex
	cond   sync.Cond
	credit int
	closed bool // by Close
	over   bool // the command has ended
}

func (w *stdin) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		n, err := w.take(min(len(p), MaxFrame))
		if err != nil {
			return total, err
		}
		if err := w.frames.Write(FrameStdin, p[:n]); err != nil {
			return total, err
		}
		total += n
		p = p[n:]
	}
	return total, nil
}

func (w *stdin) take(n int) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.credit == 0 && !w.closed && !w.over {
		w.cond.Wait()
	}
	if w.closed || w.over {
		return 0, io.ErrClosedPipe
	}
	n = min(n, w.credit)
	w.credit -= n
	return n, nil
}

func (w *stdin) grant(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n <= 0 || n > StdinWindow || w.credit+n > StdinWindow {
		return fmt.Errorf("cork granted %d bytes of input, %d are left of %d", n, w.credit, StdinWindow)
	}
	w.credit += n
	w.cond.Broadcast()
	return nil
}

func (w *stdin) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.cond.Broadcast()
}

// Close implements io.Closer. After the command's end it does nothing.
func (w *stdin) Close() error {
	w.mu.Lock()
	send := !w.closed && !w.over
	w.closed = true
	w.cond.Broadcast()
	w.mu.Unlock()
	if !send {
		return nil
	}
	return w.frames.Write(FrameEOF, nil)
}
