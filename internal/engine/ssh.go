package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// endWait is how long an ssh that closed its output gets to end and say why.
const endWait = 2 * time.Second

// tunnel is a connection through an ssh process of its own, which runs docker's relay to the
// engine's socket on the other host. Closing it kills the process and waits for it.
type tunnel struct {
	net.Conn // our end of the socket pair that is ssh's input and output
	d        *dialer
	process  *os.Process
	said     tail
	done     chan struct{} // closed when the process was reaped
	ended    error         // how, once done is closed
	closing  atomic.Bool
}

// arguments are ssh's. What the address holds can't be taken for an option: its parser saw to the
// names, and everything before them ends the options.
func (a address) arguments() []string {
	args := []string{"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"}
	if a.port != "" {
		args = append(args, "-p", a.port)
	}
	to := a.host
	if a.user != "" {
		to = a.user + "@" + to
	}
	args = append(args, "--", to, "docker")
	if a.path != "" {
		args = append(args, "--host", "unix://"+a.path)
	}
	return append(args, "system", "dial-stdio")
}

// tunnel starts ssh. That it can't connect shows when the connection is read.
func (d *dialer) tunnel() (net.Conn, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("socket pair for ssh: %w", err)
	}
	defer theirs.Close() // ssh has its own copy
	t := &tunnel{Conn: ours, d: d, done: make(chan struct{})}
	cmd := exec.Command("ssh", d.addr.arguments()...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, &t.said
	// A session of its own: no terminal to ask on, no ^C meant for others.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// A multiplexing master that ssh leaves behind, or its proxy command, may keep stderr open.
	cmd.WaitDelay = time.Second
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = ours.Close() // unused
		return nil, net.ErrClosed
	}
	if err := cmd.Start(); err != nil {
		_ = ours.Close() // unused
		return nil, &Error{
			Reason: SSHFailed, Where: d.where, text: "ssh can't be started: " + inert.Text(err.Error(), 0),
			hint: "install the OpenSSH client, or name another engine: docker context use NAME",
		}
	}
	d.open[t], t.process = true, cmd.Process
	go func() { // Close waits for it
		t.ended = cmd.Wait()
		close(t.done)
	}()
	return t, nil
}

// Read reads what the engine sent. An ssh that failed is told as an *Error.
func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	return n, t.explain(err)
}

// Write sends to the engine.
func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	return n, t.explain(err)
}

// CloseWrite tells the engine that nothing more is sent.
func (t *tunnel) CloseWrite() error { return t.Conn.(*net.UnixConn).CloseWrite() }

// Close ends the connection and its process, and returns when both are gone.
func (t *tunnel) Close() error {
	t.closing.Store(true)
	err := t.Conn.Close()
	_ = t.process.Kill() // it may have ended already
	<-t.done
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	delete(t.d.open, t)
	return err
}

// explain finds out why ssh left when err is the end of its socket.
func (t *tunnel) explain(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	late := time.NewTimer(endWait)
	defer late.Stop()
	select {
	case <-t.done:
	case <-late.C:
		return err
	}
	exit, ok := errors.AsType[*exec.ExitError](t.ended)
	if !ok || t.closing.Load() {
		return err // a proper end, or ours
	}
	failed := sshError(t.d.where, t.d.addr, exit, t.said.words())
	t.d.note(failed)
	return failed
}

// sshError words the end of an ssh process: 255 is ssh's own failure, everything else is of the
// command it ran there.
func sshError(w Where, a address, exit *exec.ExitError, words string) *Error {
	if words == "" {
		words = exit.String()
	}
	e := &Error{Reason: SSHFailed, Where: w, text: "ssh: " + words}
	by := "ssh " + strings.Join(a.arguments(), " ")
	switch exit.ExitCode() {
	case 255:
		e.hint = "this must connect without asking anything (a key in the agent, the host known): " + by
	case 127:
		e.hint = "the docker command must be installed there, and be found by: " + by
	default:
		e.hint = "see what the docker command there needs: " + by
	}
	return e
}

// socketPair returns the two ends of a stream, neither inherited by programs started meanwhile.
func socketPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "ssh")
	file := os.NewFile(uintptr(pair[0]), "engine")
	defer file.Close() // FileConn makes a copy
	ours, err := net.FileConn(file)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// tail keeps the end of what ssh wrote to stderr.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const maxTail = 4 << 10 // bytes

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - maxTail; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// words are the last lines, made inert, in one.
func (t *tail) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range strings.Lines(string(t.buf)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, inert.Text(line, 256))
		}
	}
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
