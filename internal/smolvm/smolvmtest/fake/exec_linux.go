package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/table"
)

// connect finds a machine that runs and its agent.
func (t *tool) connect(name string, explicit bool) (*record, descriptor, error) {
	db, err := t.home.read()
	if err != nil {
		return nil, -1, err
	}
	r := db.Machines[name]
	switch {
	case r == nil && explicit:
		return nil, -1, notFound(name)
	case r == nil:
		return nil, -1, agentError("connect", "machine '%s' not found", name)
	}
	down := agentError("connect", "machine '%s' is not running. Use 'smolvm machine start --name %s' first.", name, name)
	if t.state(r) != stateRunning { // a machine whose agent does not answer is called not running, too
		return nil, -1, down
	}
	conn, err := dialAt(t.home.vm(name), socketFile)
	if err != nil {
		return nil, -1, down
	}
	return r, conn, nil
}

// dialAt connects to a socket in a folder, however long the folder's path is.
func dialAt(dir, name string) (descriptor, error) {
	d, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(d)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", d, name)})
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return descriptor(fd), nil
}

func shell(t *tool, p *table.Parsed) error {
	c := client{t: t, op: "run interactive", r: request{Op: "exec", Mode: "tty", Argv: []string{"/bin/sh"}}}
	return c.run(name(p), p.Has("name"), nil, nil, nil)
}

func execute(t *tool, p *table.Parsed) error {
	c := client{t: t, op: "run interactive", r: request{Op: "exec", Mode: "plain", Argv: p.All("command"), Dir: p.One("workdir")}}
	switch {
	case p.Has("detach"):
		c.r.Mode, c.op = "detach", "run background"
	case p.Has("tty"):
		c.r.Mode = "tty"
	case p.Has("interactive"):
		c.r.Mode = "pipe"
	case p.Has("stream"):
		c.r.Mode, c.op = "stream", "run streaming"
	default:
		c.op = "run command"
	}
	if p.Has("timeout") {
		d, err := table.Duration(p.One("timeout"))
		if err != nil {
			return err
		}
		c.r.Timeout = max(d.Milliseconds(), 1)
	}
	return c.run(name(p), p.Has("name"), p.All("env"), p.All("secret_env"), p.All("secret_file"))
}

// client is the host's side of an exec.
type client struct {
	t    *tool
	op   string
	r    request
	conn descriptor
	// shown are the bytes of output that were shown.
	shown int
}

func (c *client) run(name string, explicit bool, env, secretEnv, secretFile []string) error {
	r, conn, err := c.t.connect(name, explicit)
	if err != nil {
		return err
	}
	c.conn = conn
	secrets, err := resolve(secretEnv, secretFile)
	if err != nil {
		return err
	}
	// Later ones win: the image's and the machine's, then secrets, then what was said now.
	for _, more := range [][]string{r.Env, secrets, env} {
		c.r.Env = append(c.r.Env, more...)
	}
	if c.r.Dir == "" {
		c.r.Dir = r.Workdir
	}
	if err := writeJSON(conn, frameRequest, c.r); err != nil {
		return agentError("send message", "%s", reason(err))
	}
	if c.r.Mode == "tty" || c.r.Mode == "pipe" {
		restore := c.takeInput()
		defer restore()
	}
	return c.follow()
}

// follow shows what comes from the machine until its command has ended.
func (c *client) follow() error {
	for {
		kind, payload, err := readFrame(c.conn)
		if err != nil {
			return agentError(c.op, "connection to VM lost")
		}
		switch kind {
		case frameStdout, frameStderr:
			if err := c.show(kind, payload); err != nil {
				return err
			}
		case frameError:
			return agentError(c.op, "%s", payload)
		case frameExit:
			var e exited
			if err := json.Unmarshal(payload, &e); err != nil {
				return agentError("parse response", "%v", err)
			}
			if c.r.Mode == "detach" {
				fmt.Println(e.Pid)
				return nil
			}
			if e.TimedOut && (c.r.Mode == "plain" || c.r.Mode == "stream") {
				fmt.Fprintf(os.Stderr, "\ncommand timed out after %dms", c.r.Timeout)
			}
			if e.Code == 0 {
				return nil
			}
			return exit(e.Code)
		}
	}
}

func (c *client) show(kind byte, payload []byte) error {
	to := descriptor(1)
	if kind == frameStderr {
		to = 2
	}
	interactive := c.r.Mode == "tty" || c.r.Mode == "pipe"
	if lose := c.t.Faults.ExecLost; interactive && lose > 0 && c.shown+len(payload) >= lose {
		_, _ = to.Write(payload[:lose-c.shown])
		_ = unix.Close(int(c.conn))
		return agentError(c.op, "connection to VM lost")
	}
	c.shown += len(payload)
	if _, err := to.Write(payload); err != nil {
		// The one who started us went away: so does the command.
		return fmt.Errorf("io operation failed: %s", reason(err))
	}
	if c.r.Mode == "stream" && c.shown > streamCap {
		fmt.Fprintf(os.Stderr, "error: streaming output exceeded %d byte cap; exec terminated (output truncated)\n", streamCap)
		return exit(1)
	}
	return nil
}

// takeInput sends standard input to the machine, and the size of the terminal it may be. Standard input
// is made non-blocking, as the real program does.
func (c *client) takeInput() (restore func()) {
	undo := []func(){}
	lock := make(chan struct{}, 1)
	send := func(do func() error) bool {
		lock <- struct{}{}
		defer func() { <-lock }()
		return do() == nil
	}
	if c.r.Mode == "tty" {
		if before, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
			raw := *before
			raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
			raw.Oflag &^= unix.OPOST
			raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
			raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
			raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
			_ = unix.IoctlSetTermios(0, unix.TCSETS, &raw)
			undo = append(undo, func() { _ = unix.IoctlSetTermios(0, unix.TCSETS, before) })
		}
		resize := func() error {
			z, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
			if err != nil || z.Row == 0 || z.Col == 0 {
				return nil
			}
			return writeJSON(c.conn, frameSize, size{z.Row, z.Col})
		}
		changed := make(chan os.Signal, 1)
		signal.Notify(changed, unix.SIGWINCH)
		send(resize)
		go func() {
			for range changed {
				send(resize)
			}
		}()
	}
	if flags, err := unix.FcntlInt(0, unix.F_GETFL, 0); err == nil && flags&unix.O_NONBLOCK == 0 {
		_ = unix.SetNonblock(0, true)
		undo = append(undo, func() { _ = unix.SetNonblock(0, false) })
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := descriptor(0).Read(buf)
			if errors.Is(err, unix.EAGAIN) {
				_, _ = poll([]unix.PollFd{{Fd: 0, Events: unix.POLLIN}}, -1)
				continue
			}
			if err != nil {
				n = 0 // and no bytes are the end
			}
			if !send(func() error { return writeFrame(c.conn, frameStdin, buf[:n]) }) || n == 0 {
				return
			}
		}
	}()
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

// resolve reads secrets where they are said to be. Nothing of them is kept.
func resolve(fromEnv, fromFile []string) ([]string, error) {
	var env []string
	seen := map[string]bool{}
	add := func(flag, spec string, read func(string) (string, error)) error {
		key, source, ok := strings.Cut(spec, "=")
		switch {
		case !ok:
			return configError(flag, "expected KEY=VALUE, got '%s'", spec)
		case key == "":
			return configError(flag, "empty secret name in '%s'", spec)
		case seen[key]:
			return configError(flag, "secret '%s' specified more than once", key)
		}
		seen[key] = true
		value, err := read(source)
		if err != nil {
			return configError("resolve secret '"+key+"'", "%w", err)
		}
		env = append(env, key+"="+value)
		return nil
	}
	for _, spec := range fromEnv {
		err := add("--secret-env", spec, func(source string) (string, error) {
			value, ok := os.LookupEnv(source)
			if !ok {
				return "", errors.New("env_unset")
			}
			return value, nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, spec := range fromFile {
		key, source, _ := strings.Cut(spec, "=")
		if !filepath.IsAbs(source) && key != "" {
			return nil, configError("--secret-file", "secret '%s': from_file path '%s' is relative; absolute paths are required", key, source)
		}
		if err := add("--secret-file", spec, secretFromFile); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// secretFromFile reads at most 1 MiB of a file that is no link.
func secretFromFile(path string) (string, error) {
	const most = 1 << 20
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", errors.New("file_read_failed")
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode()&fs.ModeType != 0 {
		return "", errors.New("file_read_failed")
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return "", errors.New("file_read_failed")
	case len(b) > most:
		return "", errors.New("file_too_large")
	}
	return string(b), nil
}
