package session

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// ptyProcess is a Process without a bottle: a program of this host on a terminal of its own.
func ptyProcess(t *testing.T, rows, cols uint16, argv ...string) Process {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"TERM=xterm-256color", "PATH=" + os.Getenv("PATH"), "PS1=$ ", "LESS=", "LC_ALL=C.UTF-8"}
	cmd.Dir = t.TempDir()
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return Process{
		Stdin:  nopClose{f},
		Stdout: f,
		Resize: func(rows, cols uint16) error { return pty.Setsize(f, &pty.Winsize{Rows: rows, Cols: cols}) },
		Signal: func(name string) error { return cmd.Process.Signal(signals[name]) },
		Wait:   waiter(cmd),
	}
}

var signals = map[string]os.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL}

type nopClose struct{ io.Writer }

func (nopClose) Close() error { return nil }

// pipeProcess is the same without a terminal.
func pipeProcess(t *testing.T, argv ...string) Process {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = t.TempDir()
	in, err1 := cmd.StdinPipe()
	outR, outW, err2 := os.Pipe()
	errR, errW, err3 := os.Pipe()
	cmd.Stdout, cmd.Stderr = outW, errW
	if err := errors.Join(err1, err2, err3, cmd.Start(), outW.Close(), errW.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return Process{
		Stdin: in, Stdout: outR, Stderr: errR,
		Signal: func(name string) error { return cmd.Process.Signal(signals[name]) },
		Wait:   waiter(cmd),
	}
}

func waiter(cmd *exec.Cmd) func() (wire.Exit, error) {
	return sync.OnceValues(func() (wire.Exit, error) {
		err := cmd.Wait()
		if x, ok := errors.AsType[*exec.ExitError](err); ok {
			err = nil
			if s, ok := x.Sys().(syscall.WaitStatus); ok && s.Signaled() {
				return wire.Exit{Code: 128 + int(s.Signal()), Signal: s.Signal().String()}, nil
			}
		}
		return wire.Exit{Code: cmd.ProcessState.ExitCode()}, err
	})
}
