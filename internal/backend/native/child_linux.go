package native

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// child is cork as its holder sees it.
type child struct {
	process *os.Process
	conn    *net.UnixConn
	stderr  *spawn.Words
	exited  chan struct{} // closed when it was reaped
}

// spawn starts cork in its namespaces, and in the control group whose open folder is unified.
func (s *start) spawn(unified *os.File) (_ *child, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "wire"), os.NewFile(uintptr(pair[1]), "cork's wire")
	defer theirs.Close() // cork has its own copy
	conn, err := net.FileConn(ours)
	_ = ours.Close() // conn has its own copy
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer null.Close() // cork has its own copy
	stderr := &spawn.Words{}
	words, err := stderr.Pipe()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer words.Close() // cork has its own copy

	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   append([]string{}, leak.Env()...), // never nil, which would be ours
		Files: []*os.File{null, null, words, theirs, s.exe},
		Sys:   s.owner.attributes(),
	}
	if unified != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(unified.Fd())
	}
	// By its descriptor: the path may lead through folders only the host's root may enter.
	p, err := spawn.StartMapped(fmt.Sprintf("/proc/self/fd/%d", exeFD), []string{"claude-bottle", backend.CorkCommand}, attr)
	if err != nil {
		_ = words.Close() // so that the reader ends
		stderr.Wait()
		return nil, errors.Join(refusal(err), conn.Close())
	}
	c := &child{process: p, conn: conn.(*net.UnixConn), stderr: stderr, exited: make(chan struct{})}
	go func() { // ends with the process; end and Bottle.watch wait for it
		defer close(c.exited)
		_, _ = p.Wait() // how it ended is told by its words
	}()
	return c, nil
}

// end kills cork, and with it, by the kernel's rule for process 1, everything in the bottle, and
// waits until it is gone.
func (c *child) end() error {
	_ = c.conn.Close() // it may be the session's, and closed
	_ = c.process.Kill()
	<-c.exited
	c.stderr.Wait()
	return nil
}

// explain adds cork's last words to an error of talking to it.
func (c *child) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("cork did not get ready within %v: %w", patience, err)
	}
	_ = c.end() // it is over with; the undo stack does the same
	if words := c.stderr.String(); words != "" {
		return fmt.Errorf("cork ended: %s", words)
	}
	return fmt.Errorf("cork ended without a word: %w", err)
}

// refusal puts the kernel's refusal to make namespaces into words.
func refusal(err error) error {
	err = fmt.Errorf("start cork in new namespaces: %w", err)
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w; inside a container, start that one with user namespaces allowed", backend.ErrUnavailable, err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: %w; there are as many namespaces as the host allows: end some bottles, or raise user.max_user_namespaces and its neighbours", backend.ErrUnavailable, err)
	}
	return err
}
