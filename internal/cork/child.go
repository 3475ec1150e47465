//go:build linux

package cork

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// child is a started command and our ends of its standard files.
type child struct {
	proc     *proc
	stdin    *os.File
	outputs  []*output
	terminal *os.File // the master side; nil without a TTY. It is stdin and the output then
}

// startError says why a command could not be started, as a shell would.
type startError struct {
	code int
	text string
}

func (e *startError) Error() string { return e.text }

func notFound(format string, args ...any) error {
	return &startError{127, fmt.Sprintf(format, args...)}
}

func notRunnable(format string, args ...any) error {
	return &startError{126, fmt.Sprintf(format, args...)}
}

// spawn starts a command. Everything but the entry into the table happens on the launcher's
// thread: what the agent may not see, open or make can't be seen, opened or made there, and its
// pipes and terminal belong to it.
func (s *server) spawn(c wire.Command) (*child, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return nil, notRunnable("the command names no program")
	}
	if !filepath.IsAbs(c.Dir) {
		return nil, notRunnable("the working folder %q is not an absolute path", c.Dir)
	}
	var (
		path string
		std  *stdio
		err  error
	)
	s.launcher.do(func() {
		if path, err = lookup(c); err == nil {
			std, err = newStdio(c)
		}
	})
	if err != nil {
		return nil, err
	}
	defer std.closeTheirs()
	p, err := s.table.start(func() (int, error) {
		return s.launcher.fork(path, c.Argv, &syscall.ProcAttr{
			Dir: c.Dir, Env: c.Env, Files: std.files(),
			Sys: &syscall.SysProcAttr{Setsid: true, Setctty: c.TTY, Ctty: 0},
		})
	})
	if err != nil {
		std.ours.close()
		return nil, whyNot(path, err)
	}
	std.ours.proc = p
	return std.ours, nil
}

func whyNot(path string, err error) error {
	switch {
	case errors.Is(err, errClosing):
		return err
	case errors.Is(err, unix.ENOENT):
		return notRunnable("%s: it is there, but the interpreter of its #! line or its dynamic loader is not", path)
	case errors.Is(err, unix.ENOEXEC):
		return notRunnable("%s: not a program: it has no #! line, or is made for another processor", path)
	case errors.Is(err, unix.E2BIG):
		return notRunnable("%s: its arguments and environment are too long; pass long text in a file", path)
	case errors.Is(err, unix.EAGAIN):
		return notRunnable("%s: the bottle's limit of processes is reached", path)
	case errors.Is(err, unix.EINVAL):
		return notRunnable("%s: an argument or variable holds a NUL byte", path)
	}
	return notRunnable("%s: %v", path, err)
}

// lookup finds the program as a shell in c.Dir would, except that relative places in PATH, the
// empty one among them, are passed over.
func lookup(c wire.Command) (string, error) {
	if fi, err := os.Stat(c.Dir); err != nil {
		return "", notRunnable("working folder: %v", err)
	} else if !fi.IsDir() {
		return "", notRunnable("working folder %s is not a folder", c.Dir)
	}
	name := c.Argv[0]
	if strings.Contains(name, "/") {
		at := name
		if !filepath.IsAbs(at) {
			at = filepath.Join(c.Dir, at)
		}
		return name, runnable(at)
	}
	var found error
	for dir := range strings.SplitSeq(variable(c.Env, "PATH"), ":") {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		err := runnable(path)
		if err == nil {
			return path, nil
		}
		if e, ok := errors.AsType[*startError](err); ok && e.code == 126 && found == nil {
			found = err
		}
	}
	if found != nil {
		return "", found
	}
	return "", notFound("%s: not found in the bottle's PATH", name)
}

func runnable(path string) error {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return notFound("%s: no such file in the bottle", path)
	case err != nil:
		return notRunnable("%v", err)
	case fi.IsDir():
		return notRunnable("%s: is a folder", path)
	case unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, 0) != nil:
		return notRunnable("%s: not executable by the agent", path)
	}
	return nil
}

// variable returns the value of the last name=value, which is the one programs see.
func variable(env []string, name string) string {
	value := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}
