package image

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/moby/moby/client"
)

// Error is a failure that the operator can do something about.
type Error struct {
	Why string
	// Tail is the end of what the failing step printed, inert; empty when nothing did.
	Tail []string
	Fix  string // for Hint
	Err  error  // the cause, when there is one
}

// Error implements error. With a Tail it has several lines.
func (e *Error) Error() string {
	if len(e.Tail) == 0 {
		return e.Why
	}
	return e.Why + "; the last it printed:\n  " + strings.Join(e.Tail, "\n  ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint tells what to do.
func (e *Error) Hint() string { return e.Fix }

// ErrEngineGone is wrapped when the engine went away at work: nothing half-made is left in it, and
// the same launch can be tried again.
var ErrEngineGone = errors.New("the engine went away")

// engineError puts what the engine answered, or that it did not, into words. Doing is what was
// being done: "build claude-bottle:latest".
func (m *maker) engineError(doing string, err error) error {
	text := clean(strings.TrimPrefix(err.Error(), "Error response from daemon: "))
	switch {
	case lost(err):
		return &Error{
			Why: fmt.Sprintf("%s: %v: %s", doing, ErrEngineGone, text),
			Fix: "see that the engine runs, then give the same command again: what was finished is kept",
			Err: errors.Join(ErrEngineGone, err),
		}
	case strings.Contains(text, "no space left on device"):
		return &Error{
			Why: fmt.Sprintf("%s: the engine's disk is full: %s", doing, text),
			Fix: fmt.Sprintf("make room: claude-bottle cleanup, then %s system prune", m.Kind),
			Err: err,
		}
	}
	return fmt.Errorf("%s: %s", doing, text)
}

// lost reports whether err means that nobody answers any more.
func lost(err error) bool {
	var op *net.OpError
	return client.IsErrConnectionFailed(err) || errors.As(err, &op) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
