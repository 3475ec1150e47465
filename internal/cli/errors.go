package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// The exit codes; exitCodesHelp tells them to the operator. An agent's own code takes their place
// where a command waits for the agent's end.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitNotFound = 3
	exitRefused  = 4
)

const exitCodesHelp = `Exit codes:
  0  done
  1  an error; it says what and what to do
  2  wrong usage
  3  no such agent, bottle definition or running bottle
  4  refused: the self-test found a leak, or the operator said no
  start and run, once the agent runs, exit with the agent's own code`

// hinted is an error that knows what to do next.
type hinted struct {
	error
	hint string
}

// Hint returns what to do next.
func (e hinted) Hint() string { return e.hint }

// Unwrap returns the error itself.
func (e hinted) Unwrap() error { return e.error }

func withHint(err error, format string, a ...any) error {
	return hinted{err, fmt.Sprintf(format, a...)}
}

// usageError is a mistake in the arguments.
type usageError struct{ msg, hint string }

func (e usageError) Error() string { return e.msg }
func (e usageError) Hint() string  { return e.hint }

// refusedError is a launch that was not allowed to go on.
type refusedError struct{ msg, hint string }

func (e refusedError) Error() string { return e.msg }
func (e refusedError) Hint() string  { return e.hint }

// notFoundError is something asked for by name that is not there.
type notFoundError struct{ msg, hint string }

func (e notFoundError) Error() string { return e.msg }
func (e notFoundError) Hint() string  { return e.hint }

// agentExit ends the program with the agent's own exit code. Mostly it has no words: the agent had
// them.
type agentExit struct {
	code int
	msg  string
}

func (e agentExit) Error() string { return e.msg }

// exitCode finds the code err ends the program with.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if agent, ok := errors.AsType[agentExit](err); ok {
		return agent.code
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[refusedError](err); ok {
		return exitRefused
	}
	if _, ok := errors.AsType[notFoundError](err); ok {
		return exitNotFound
	}
	if errors.Is(err, manifest.ErrNotFound) || errors.Is(err, state.ErrNotFound) || errors.Is(err, state.ErrAmbiguous) {
		return exitNotFound
	}
	return exitError
}

// maxErrorLine bounds one line of an error, in bytes.
const maxErrorLine = 4 << 10

// printError writes err for the operator: one "error:" line for each error that was joined, then
// the hints. Error texts may quote what an agent wrote, so they are made inert.
func printError(w io.Writer, err error) {
	for _, line := range strings.Split(strings.TrimRight(err.Error(), "\n"), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			putf(w, "%s\n", inert.Text(line, maxErrorLine))
			continue
		}
		putf(w, "error: %s\n", inert.Text(line, maxErrorLine))
	}
	for _, hint := range hints(err) {
		for i, line := range strings.Split(hint, "\n") {
			lead := "hint:  "
			if i > 0 {
				lead = "       "
			}
			putln(w, lead+inert.Text(line, maxErrorLine))
		}
	}
}

// hints collects the hints along the tree of err, the outermost first, each once.
func hints(err error) []string {
	var out []string
	seen := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		if h, ok := err.(interface{ Hint() string }); ok && h.Hint() != "" && !seen[h.Hint()] {
			seen[h.Hint()] = true
			out = append(out, h.Hint())
		}
		switch u := err.(type) { //nolint:errorlint // it walks the tree itself
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
	return out
}
