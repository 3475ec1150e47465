//go:build linux

package cork

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// exec runs one command for the warden. The stream lives as long as the command: if it ends
// first, the command's process group is killed.
func (s *server) exec(st *wire.Stream) {
	defer st.Close()
	select {
	case s.commands <- struct{}{}:
		defer func() { <-s.commands }()
	default:
		st.Reset("too many commands run in this bottle already; wait for one to end")
		return
	}
	var c wire.Command
	if err := st.Header(&c); err != nil {
		st.Reset(err.Error())
		return
	}
	frames := wire.NewFrameWriter(st)
	ch, err := s.spawn(c)
	if err != nil {
		var failed *startError
		if errors.As(err, &failed) {
			// If the warden is gone there is nobody to tell.
			_ = frames.Exit(wire.Exit{Code: failed.code, Error: failed.text})
		} else {
			st.Reset(err.Error())
		}
		return
	}
	exit := converse(st, frames, ch)
	_ = frames.Exit(exit) // as above
}

// converse carries everything between the stream and the command until the command has ended and
// its output is out.
func converse(st *wire.Stream, frames *wire.FrameWriter, ch *child) wire.Exit {
	in := newFeed(ch)
	var orders, input, outputs sync.WaitGroup
	orders.Go(func() {
		err := obey(wire.NewFrameReader(st, wire.MaxFrame), in, ch)
		select {
		case <-ch.proc.done:
		default:
			st.Reset(err.Error())
			ch.proc.signal(syscall.SIGKILL)
		}
	})
	input.Go(func() { in.run(frames) })
	ended := make(chan struct{})
	for _, o := range ch.outputs {
		outputs.Go(func() { pump(o, frames, ended) })
	}
	<-ch.proc.done
	close(ended)
	for _, o := range ch.outputs {
		o.interrupt()
	}
	outputs.Wait()
	in.end()
	ch.close()
	input.Wait()
	// The reader of orders ends with the stream, and that with the exit: it is left to see its
	// end by itself, bounded by the handler's deferred Close.
	_ = st.SetReadDeadline(past) // it always returns nil
	orders.Wait()
	return exitOf(ch.proc.status)
}

// obey does what the warden's frames say until the stream ends, and returns why it did.
func obey(r *wire.FrameReader, in *feed, ch *child) error {
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		switch f.Type {
		case wire.FrameStdin:
			err = in.push(f.Payload)
		case wire.FrameEOF:
			in.finish()
		case wire.FrameResize:
			var rows, cols uint16
			if rows, cols, err = f.ResizeOf(); err == nil && ch.terminal != nil {
				// It fails only for a terminal that is being closed.
				_ = resize(ch.terminal, rows, cols)
			}
		case wire.FrameSignal:
			ch.proc.signal(signalNamed(string(f.Payload)))
		default:
			err = errors.New("a frame only cork may send")
		}
		if err != nil {
			return err
		}
	}
}

// signalNamed returns 0, which reaches nobody, for a name that is none.
func signalNamed(name string) syscall.Signal {
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	return unix.SignalNum("SIG" + name)
}

func exitOf(ws syscall.WaitStatus) wire.Exit {
	if ws.Signaled() {
		sig := ws.Signal()
		return wire.Exit{Code: 128 + int(sig), Signal: unix.SignalName(sig)}
	}
	return wire.Exit{Code: ws.ExitStatus()}
}

// resize sets the size of a terminal's window; the kernel sends SIGWINCH.
func resize(terminal *os.File, rows, cols uint16) error {
	rc, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	cerr := rc.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	return errors.Join(cerr, err)
}
