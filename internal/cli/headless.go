package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/launch"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/terminal"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// runHeadless launches a bottle and carries the agent's streams to its end.
func (a *app) runHeadless(ctx context.Context, p preflight, quiet bool) error {
	in, closeInput, err := a.pipedInput()
	if err != nil {
		return err
	}
	defer closeInput()
	h, settle, err := a.bringUp(ctx, p, quiet || !isTerminal(a.sys.Stderr), false)
	if err != nil {
		return err
	}
	// A reader that leaves, as head does, is told by the write that fails.
	signal.Ignore(syscall.SIGPIPE)
	release := a.stopOnSecondInterrupt(ctx, h, quiet) // from here on, and before the launch is settled
	if err := settle(); err != nil {
		release()
		return err
	}
	r, err := terminal.Attach(ctx, h.Client, terminal.Options{In: in, Out: a.sys.Stdout, Err: a.sys.Stderr})
	release()
	switch {
	case errors.Is(err, client.ErrGone):
		return a.attachError(ctx, h.Dir, err)
	case err != nil:
		// Nobody is left to take the output, so the bottle has no purpose any more.
		if errors.Is(err, syscall.EPIPE) {
			err = agentExit{code: exitPipe}
		}
		return errors.Join(err, a.stopNow(h))
	case r.Exit == nil:
		return fmt.Errorf("bottle %s: the session ended without an exit code", h.ID)
	}
	return a.sawEnd(ctx, h.Dir, *r.Exit, quiet)
}

// exitPipe is what a shell makes of a program that SIGPIPE ended.
const exitPipe = 128 + int(syscall.SIGPIPE)

// pipedInput is what was piped or redirected into us. A terminal, where nobody is expected to type,
// is replaced by an empty input.
func (a *app) pipedInput() (_ *os.File, done func(), err error) {
	if !isTerminal(a.sys.Stdin) {
		return a.sys.Stdin, func() {}, nil
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { _ = f.Close() }, nil // read-only
}

// signalGrace is how long an agent has to end after the operator's second Ctrl-C.
const signalGrace = 2 * time.Second

// stopOnSecondInterrupt watches for Ctrl-C beside the attachment, which passes each one on to the
// agent, and stops the bottle at the second.
func (a *app) stopOnSecondInterrupt(ctx context.Context, h *launch.Handle, quiet bool) (release func()) {
	in := make(chan os.Signal, 4)
	signal.Notify(in, syscall.SIGINT)
	done, ended := make(chan struct{}), make(chan struct{})
	say := func(text string) {
		if !quiet {
			putln(a.sys.Stderr, text)
		}
	}
	go func() {
		defer close(ended)
		for n := 1; ; n++ {
			select {
			case <-in:
			case <-done:
				return
			}
			switch n {
			case 1:
				say("interrupted the agent; Ctrl-C again stops the bottle")
			case 2:
				say("stopping the bottle")
				// A failure shows in the attachment, which has the words for it.
				_ = h.Client.Stop(ctx, "stopped by the operator", signalGrace)
			}
		}
	}()
	return func() {
		signal.Stop(in)
		close(done)
		<-ended
	}
}

// goneWait bounds how long we wait for a bottle to be gone after its agent's end.
const goneWait = 20 * time.Second

// waitGone waits until the bottle's warden has cleaned up, so that whoever comes next finds
// nothing of it running.
func (a *app) waitGone(ctx context.Context, dir *state.Dir) error {
	ctx, cancel := context.WithTimeout(ctx, goneWait)
	defer cancel()
	err := dir.WaitFree(ctx)
	if ctx.Err() != nil {
		return wedged(dir, fmt.Errorf("bottle %s: its agent ended, and its warden is still there", dir.ID()))
	}
	return err
}

// alive is Dir.Alive for a folder that may be gone: a warden removes what is not worth keeping.
func alive(dir *state.Dir) (bool, error) {
	live, err := dir.Alive()
	if err != nil {
		if _, statErr := os.Lstat(dir.Path("")); errors.Is(statErr, os.ErrNotExist) {
			return false, nil
		}
	}
	return live, err
}

// agentEnded turns the agent's end into our own exit: the same code, and no words but where it
// never began.
func agentEnded(e wire.Exit) error {
	switch {
	case e.Error != "":
		return agentExit{e.Code, "the agent could not be started: " + e.Error}
	case e.Code != 0:
		return agentExit{code: e.Code}
	}
	return nil
}
