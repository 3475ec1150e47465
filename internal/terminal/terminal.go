// Package terminal lends the operator's terminal to a bottle's session and gives it back as it was:
// after a detach, the agent's end, an error, a signal and a panic. While it is lent, every key goes
// to the agent, Ctrl-C too, but for the keys that detach.
//
//	result, err := terminal.Attach(ctx, client.Dial(socket), terminal.Options{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
//
// Where input or output is no terminal, bytes are copied and nothing else.
package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"github.com/claude-bottle/claude-bottle/internal/session/escape"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

// Options say what to lend.
type Options struct {
	// In may be nil: nothing is typed.
	In       *os.File
	Out, Err *os.File
	// Detach are the keys that leave; zero keys never do.
	Detach client.Keys
	// Hint is one line shown before the agent draws, when there is a terminal; it may be empty.
	Hint string
	// History asks for what scrolled off the agent's screen before.
	History bool
}

// SignalError is the cause of an attach that a signal to this process ended.
type SignalError struct{ Signal os.Signal }

// Error implements error.
func (e SignalError) Error() string { return fmt.Sprintf("ended by %s", e.Signal) }

// Attach lends the terminal to c's session until the agent ends, the operator detaches, ctx ends,
// or SIGTERM or SIGHUP comes, which is an error wrapping SignalError. SIGINT and SIGQUIT are sent to
// the agent.
func Attach(ctx context.Context, c *client.Client, o Options) (client.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := client.AttachOptions{
		Stdout: o.Out, Stderr: plain(o.Err),
		Detach: o.Detach, History: o.History,
	}
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)

	if o.In == nil || !term.IsTerminal(int(o.In.Fd())) || !term.IsTerminal(int(o.Out.Fd())) {
		a.Stdout = plain(o.Out)
		in, release := input(o.In)
		defer release()
		a.Stdin = in
		a.Signals = watchSignals(ctx, cancel, &watch)
		return c.Attach(ctx, a)
	}

	l, err := lend(o)
	if err != nil {
		return client.Result{}, err
	}
	defer l.giveBack()
	in, release := input(o.In)
	defer release()
	a.Stdin, a.Stdout = in, l
	a.Size = l.size()
	a.Signals = watchSignals(ctx, cancel, &watch)
	a.Resize = l.watchSize(ctx, &watch)
	result, err := c.Attach(ctx, a)
	l.left = result.Detached
	return result, err
}

// input returns f as a reader whose Close ends a Read under way, where that can block for long, and
// what to call when no Read is under way any more.
func input(f *os.File) (in io.Reader, release func()) {
	if f == nil {
		return nil, func() {}
	}
	r, err := cancelreader.NewReader(f)
	if err != nil {
		// A plain file can't be waited for; nor does its Read wait. It stays the caller's to close.
		return struct{ io.Reader }{f}, func() {}
	}
	return cancelable{r}, func() { _ = r.Close() } // its own descriptors, not f
}

type cancelable struct{ cancelreader.CancelReader }

// Close implements io.Closer. The file stays open: it is the caller's.
func (c cancelable) Close() error {
	c.Cancel()
	return nil
}

// plain returns where to write an agent's plain output: f itself, or, when a terminal would
// interpret it, f behind a filter.
func plain(f *os.File) io.Writer {
	if f == nil {
		return io.Discard
	}
	if !term.IsTerminal(int(f.Fd())) {
		return f
	}
	return &filtered{to: f}
}

type filtered struct {
	to     io.Writer
	filter escape.Filter
	buf    []byte
}

// Write implements io.Writer.
func (w *filtered) Write(p []byte) (int, error) {
	w.buf = w.filter.Append(w.buf[:0], p)
	// Nothing reads the answers to its questions.
	if _, err := w.to.Write(escape.Quiet(w.buf, w.filter.Queries())); err != nil {
		return 0, err
	}
	return len(p), nil
}

// watchSignals yields the signals for the agent and ends ctx at those for us.
func watchSignals(ctx context.Context, cancel context.CancelCauseFunc, watch *sync.WaitGroup) <-chan string {
	in := make(chan os.Signal, 8)
	signal.Notify(in, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	out := make(chan string)
	watch.Go(func() {
		defer signal.Stop(in)
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-in:
				name := map[os.Signal]string{syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT"}[s]
				if name == "" {
					cancel(SignalError{s})
					return
				}
				select {
				case out <- name:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	return out
}
