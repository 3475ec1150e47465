package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a plain exec keeps of each stream, and of both, before it says that it is too much.
const (
	plainStream = 11 << 20
	plainBoth   = 20 << 20
	// streamCap is what the streaming exec shows of both.
	streamCap = 11 << 20
)

// withDefaults adds what a container has that nobody asked for. The last of several values counts.
func withDefaults(env []string, tty bool) []string {
	defaults := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	if tty {
		defaults = append(defaults, "TERM=xterm-256color")
	}
	var out []string
	at := map[string]int{}
	for _, kv := range append(defaults, env...) {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			continue
		}
		if i, again := at[key]; again {
			out[i] = kv
			continue
		}
		at[key] = len(out)
		out = append(out, kv)
	}
	return out
}

// missing is what a container runtime says of a program that it can't start, with its exit status.
type missing struct {
	code int
	text string
}

func (m *missing) Error() string { return m.text }

// find looks a program up in the guest.
func find(word string, env []string, dir string) (string, error) {
	able := func(path string) error {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		info, err := os.Stat(path)
		if err == nil && (info.IsDir() || info.Mode()&0o111 == 0) {
			return fs.ErrPermission
		}
		return err
	}
	gone := &missing{127, "crun: executable file `" + word + "` not found in $PATH: No such file or directory"}
	if strings.Contains(word, "/") {
		switch err := able(word); {
		case errors.Is(err, fs.ErrPermission):
			return "", &missing{126, "crun: open executable `" + word + "`: Permission denied"}
		case err != nil:
			return "", gone
		}
		return word, nil
	}
	path := ""
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = value
		}
	}
	for _, d := range filepath.SplitList(path) {
		if full := filepath.Join(d, word); word != "" && able(full) == nil {
			return full, nil
		}
	}
	return "", gone
}

// spawn starts a command with three descriptors; the first is its terminal if it is to have one.
func (g *inside) spawn(r request, files []uintptr, tty bool) (*child, error) {
	env := withDefaults(r.Env, tty)
	dir := r.Dir
	if dir == "" {
		dir = "/"
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, &missing{127, "crun: chdir to `" + dir + "`: No such file or directory"}
	}
	program, err := find(r.Argv[0], env, dir)
	if err != nil {
		return nil, err
	}
	attr := &syscall.ProcAttr{Dir: dir, Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: tty}}
	// The dead are collected under the same lock, so a child is known before it can be found dead.
	g.mu.Lock()
	defer g.mu.Unlock()
	pid, err := syscall.ForkExec(program, r.Argv, attr)
	if err != nil {
		return nil, &missing{126, "crun: exec `" + program + "`: " + reason(err)}
	}
	c := &child{pid: pid, done: make(chan struct{})}
	g.children[pid] = c
	return c, nil
}

// session is an exec that somebody is connected to. One loop serves it, as in the real agent: while a
// write to the command's standard input blocks, nothing else of the session moves.
type session struct {
	conn     descriptor
	r        request
	child    *child
	wake     [2]int // a pipe that gets a byte when the child is dead
	stdin    int
	outs     []*output
	terminal bool
}

// output is a stream of a command's.
type output struct {
	fd   int
	kind byte
	kept []byte // of a plain exec
}

func (g *inside) exec(conn descriptor, r request) (err error) {
	g.used.Store(true)
	s := &session{conn: conn, r: r, stdin: -1, terminal: r.Mode == "tty", wake: [2]int{-1, -1}}
	defer s.close()
	theirs, err := s.streams()
	closeAll(theirs, err != nil)
	if err != nil {
		return err
	}
	s.child, err = g.spawn(r, theirs, s.terminal)
	closeAll(theirs, true)
	var gone *missing
	if errors.As(err, &gone) {
		if r.Mode == "detach" {
			return errors.New("spawn failed: " + gone.text)
		}
		kind := byte(frameStderr)
		if s.terminal {
			kind = frameStdout
		}
		_ = writeFrame(conn, kind, []byte(gone.text+"\n"))
		return writeJSON(conn, frameExit, exited{Code: gone.code})
	}
	if err != nil {
		return err
	}
	if r.Mode == "detach" {
		return writeJSON(conn, frameExit, exited{Pid: s.child.pid})
	}
	if err := unix.Pipe2(s.wake[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	say := s.wake[1]
	s.wake[1] = -1
	go func() {
		<-s.child.done
		_ = unix.Close(say)
	}()
	return s.loop()
}

func closeAll(fds []uintptr, do bool) {
	if !do {
		return
	}
	for _, fd := range slices.Compact(slices.Clone(fds)) {
		_ = unix.Close(int(fd))
	}
}

// streams makes the command's three descriptors and the session's ends of them.
func (s *session) streams() (theirs []uintptr, err error) {
	if s.terminal {
		return s.openTerminal()
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if s.r.Mode == "detach" {
		return []uintptr{uintptr(null), uintptr(null), uintptr(null)}, nil
	}
	theirs = []uintptr{uintptr(null)}
	var p [2]int
	if s.r.Mode == "pipe" {
		_ = unix.Close(null)
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return nil, err
		}
		theirs[0], s.stdin = uintptr(p[0]), p[1]
	}
	for _, kind := range []byte{frameStdout, frameStderr} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return theirs, err
		}
		_ = unix.SetNonblock(p[0], true)
		s.outs = append(s.outs, &output{fd: p[0], kind: kind})
		theirs = append(theirs, uintptr(p[1]))
	}
	return theirs, nil
}

func (s *session) openTerminal() ([]uintptr, error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s.outs = []*output{{fd: master, kind: frameStdout}}
	s.stdin = master
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	slave, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	_ = unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	_ = unix.SetNonblock(master, true)
	return []uintptr{uintptr(slave), uintptr(slave), uintptr(slave)}, nil
}

func (s *session) close() {
	for _, o := range s.outs {
		if o.fd >= 0 && o.fd != s.stdin {
			_ = unix.Close(o.fd)
		}
	}
	for _, fd := range []int{s.stdin, s.wake[0], s.wake[1]} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// kill ends the command itself; whatever it has started goes on.
func (s *session) kill() {
	_ = unix.Kill(s.child.pid, unix.SIGKILL)
	<-s.child.done
}

func (s *session) loop() error {
	var deadline time.Time
	if s.r.Timeout > 0 {
		deadline = time.Now().Add(time.Duration(s.r.Timeout) * time.Millisecond)
	}
	for {
		select {
		case <-s.child.done:
			if err := s.drain(); err != nil {
				return nil
			}
			return s.finish(exited{Code: code(s.child.status)})
		default:
		}
		wait := -1
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				s.kill()
				return s.finish(exited{Code: 124, TimedOut: true})
			}
			wait = int(left.Milliseconds()) + 1
		}
		fds := []unix.PollFd{{Fd: int32(s.conn), Events: unix.POLLIN}, {Fd: int32(s.wake[0]), Events: unix.POLLIN}}
		for _, o := range s.outs {
			fds = append(fds, unix.PollFd{Fd: int32(o.fd), Events: unix.POLLIN})
		}
		if _, err := poll(fds, wait); err != nil {
			return err
		}
		for i, o := range s.outs {
			if fds[i+2].Revents == 0 {
				continue
			}
			if err := s.pump(o); err != nil {
				s.kill()
				return nil
			}
		}
		if fds[0].Revents != 0 {
			if err := s.hear(); err != nil {
				s.kill()
				return nil
			}
		}
	}
}

// code is the exit status by which a shell would name an end.
func code(w syscall.WaitStatus) int {
	if w.Signaled() {
		return 128 + int(w.Signal())
	}
	return w.ExitStatus()
}

// pump moves what a stream has now. Its error is the connection's.
func (s *session) pump(o *output) error {
	buf := make([]byte, 64<<10)
	for o.fd >= 0 {
		n, err := descriptor(o.fd).Read(buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil: // its end, or EIO of a terminal that nobody has open any more
			if o.fd != s.stdin {
				_ = unix.Close(o.fd)
			}
			o.fd = -1
			return nil
		case s.r.Mode == "plain":
			o.kept = append(o.kept, buf[:n]...)
			if len(o.kept) >= plainStream {
				o.kept = o.kept[:plainStream]
				_ = unix.Close(o.fd)
				o.fd = -1
			}
		default:
			if err := writeFrame(s.conn, o.kind, buf[:n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// drain moves what a dead command has left behind. What its children still write is lost.
func (s *session) drain() error {
	for _, o := range s.outs {
		if s.terminal && o.fd >= 0 {
			// A terminal's bytes take a moment from one end to the other.
			_, _ = poll([]unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLIN}}, 50)
		}
		if err := s.pump(o); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) finish(e exited) error {
	if s.r.Mode == "plain" {
		both := 0
		for _, o := range s.outs {
			both += len(o.kept)
		}
		if both > plainBoth {
			return errors.New("command output too large")
		}
		for _, o := range s.outs {
			for chunk := range slices.Chunk(o.kept, 1<<20) {
				if err := writeFrame(s.conn, o.kind, chunk); err != nil {
					return nil
				}
			}
		}
	}
	return writeJSON(s.conn, frameExit, e)
}

// hear takes a frame of the client's. Its error means that there is no client any more.
func (s *session) hear() error {
	kind, payload, err := readFrame(s.conn)
	if err != nil {
		return err
	}
	switch {
	case kind == frameSize && s.terminal:
		var z size
		if err := json.Unmarshal(payload, &z); err != nil {
			return err
		}
		_ = unix.IoctlSetWinsize(s.stdin, unix.TIOCSWINSZ, &unix.Winsize{Row: z.Rows, Col: z.Cols})
	case kind != frameStdin || s.stdin < 0:
	case len(payload) == 0 && s.terminal:
		// A terminal has no end of input but a character for it: once for a line that is begun, once
		// for the end.
		_, _ = descriptor(s.stdin).Write([]byte{4, 4})
	case len(payload) == 0:
		_ = unix.Close(s.stdin)
		s.stdin = -1
	default:
		_, _ = descriptor(s.stdin).Write(payload)
	}
	return nil
}
