package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// guestWord is the command by which the guest's init is started. It is one for process 1 only.
const guestWord = "_guest-init"

// inside is the guest's init: process 1 of its namespaces, and the agent that runs commands.
type inside struct {
	config bootConfig
	// under is the file system of the image without what is mounted over it.
	under int
	// used says that a container runs: of the main command, or, from the first exec on, one for execs.
	used atomic.Bool
	main int

	mu       sync.Mutex
	children map[int]*child
}

// child is a process that somebody waits for.
type child struct {
	pid    int
	done   chan struct{}
	status syscall.WaitStatus // once done is closed
}

func guest() int {
	unix.CloseOnExec(controlFd)
	unix.CloseOnExec(listenerFd)
	unix.Umask(0o022)
	g := &inside{children: map[int]*child{}}
	reap := make(chan os.Signal, 1)
	signal.Notify(reap, unix.SIGCHLD)
	// A signal that a guest's root sends to process 1 must not end the machine.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)
	fail := func(err error) int {
		_, _ = unix.Write(controlFd, []byte(err.Error()))
		return 1
	}
	b, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(b, &g.config)
	}
	if err != nil {
		return fail(fmt.Errorf("boot config: %w", err))
	}
	if err := g.mounts(); err != nil {
		return fail(err)
	}
	go func() {
		for range reap {
			g.reap()
		}
	}()
	var listeners []*os.File
	var fds []int
	for _, s := range g.config.Sockets {
		l, err := mountSocket(s.Guest)
		if err != nil {
			return fail(fmt.Errorf("mount socket %s: %s", s.Guest, reason(err)))
		}
		listeners, fds = append(listeners, l), append(fds, int(l.Fd()))
	}
	g.startMain()
	var rights []byte
	if len(listeners) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(controlFd, []byte("ready"), rights, nil, 0); err != nil {
		return 1
	}
	for _, l := range listeners {
		_ = l.Close() // by the file, which would close the number again when it is collected
	}
	go g.serve()
	// The end of the connection to the host is the end of the machine: process 1 takes all others along.
	// They get no signal to end by themselves, as in a machine whose power goes.
	_, _ = descriptor(controlFd).Read(make([]byte, 1))
	return 0
}

// mountSocket makes a socket that every program in the guest may connect to.
func mountSocket(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := listen(path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o777)
}

// startMain starts the machine's own command. Nobody minds if it can't be, or ends at once.
func (g *inside) startMain() {
	if len(g.config.Main) == 0 {
		return
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	fd := null.Fd()
	c, err := g.spawn(request{Argv: g.config.Main, Env: g.config.Env, Dir: g.config.Workdir}, []uintptr{fd, fd, fd}, false)
	if err == nil {
		g.main = c.pid
	}
}

// reap collects the dead: children that are waited for, and orphans of theirs.
func (g *inside) reap() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c := g.children[pid]; c != nil {
			delete(g.children, pid)
			c.status = status
			close(c.done)
		}
	}
}

// serve takes the agent's connections, one goroutine each.
func (g *inside) serve() {
	for {
		fd, _, err := unix.Accept4(listenerFd, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return
		}
		go func() {
			defer unix.Close(fd)
			if err := g.answer(descriptor(fd)); err != nil {
				_ = writeFrame(descriptor(fd), frameError, []byte(err.Error()))
			}
		}()
	}
}

func (g *inside) answer(conn descriptor) error {
	kind, payload, err := readFrame(conn)
	if err != nil {
		return nil
	}
	var r request
	if kind != frameRequest {
		return errors.New("expected a request")
	}
	if err := json.Unmarshal(payload, &r); err != nil {
		return err
	}
	switch r.Op {
	case "ping":
		return writeJSON(conn, frameExit, exited{})
	case "exec":
		return g.exec(conn, r)
	case "put":
		return g.put(conn, r)
	case "get":
		return g.get(conn, r)
	}
	return fmt.Errorf("unknown request %q", r.Op)
}

// mounts gives the guest its file system.
func (g *inside) mounts() error {
	step := func(what string, err error) error {
		if err != nil {
			return fmt.Errorf("mount operation failed: %s: %s", what, reason(err))
		}
		return nil
	}
	if err := step("private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		return err
	}
	// Folders of the host are taken hold of before the host's file system goes away.
	var volumes []int
	for _, m := range g.config.Mounts {
		fd, err := unix.OpenTree(unix.AT_FDCWD, m.Host, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return step(m.Host, err)
		}
		volumes = append(volumes, fd)
	}
	root := g.config.Rootfs
	layers := "lowerdir=" + g.config.Lower + ",upperdir=" + g.config.Upper + ",workdir=" + g.config.Work
	if err := step("root", unix.Mount("overlay", root, "overlay", 0, layers)); err != nil {
		return err
	}
	if err := step("root", unix.Chdir(root)); err != nil {
		return err
	}
	if err := step("pivot_root", unix.PivotRoot(".", ".")); err != nil {
		return err
	}
	if err := step("old root", unix.Unmount(".", unix.MNT_DETACH)); err != nil {
		return err
	}
	if err := step("root", unix.Chdir("/")); err != nil {
		return err
	}
	under, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return step("root", err)
	}
	g.under = under
	if err := os.MkdirAll("/workspace", 0o755); err != nil {
		return step("/workspace", err)
	}
	for _, m := range []struct {
		at, kind string
		flags    uintptr
		data     string
	}{
		{"/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"/dev", "tmpfs", unix.MS_NOSUID | unix.MS_STRICTATIME, "mode=755"},
		{"/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"},
		{"/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "mode=1777"},
		{"/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY, ""},
		{"/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return step(m.at, err)
		}
		if err := step(m.at, unix.Mount(m.kind, m.at, m.kind, m.flags, m.data)); err != nil {
			return err
		}
	}
	if err := step("/dev", devices()); err != nil {
		return err
	}
	for i, m := range g.config.Mounts {
		if err := os.MkdirAll(m.Guest, 0o755); err != nil {
			return step(m.Guest, err)
		}
		if err := step(m.Guest, unix.MoveMount(volumes[i], "", unix.AT_FDCWD, m.Guest, unix.MOVE_MOUNT_F_EMPTY_PATH)); err != nil {
			return err
		}
		_ = unix.Close(volumes[i])
		if m.ReadOnly {
			if err := step(m.Guest, unix.Mount("", m.Guest, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")); err != nil {
				return err
			}
		}
	}
	return step("hostname", unix.Sethostname([]byte(g.config.Name[:min(len(g.config.Name), 64)])))
}

func devices() error {
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := device(name, 1, minor); err != nil {
			return err
		}
	}
	if err := device("tty", 5, 0); err != nil {
		return err
	}
	for name, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

func device(name string, major, minor uint32) error {
	path := "/dev/" + name
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(major, minor))); err != nil {
		return err
	}
	return os.Chmod(path, 0o666)
}
