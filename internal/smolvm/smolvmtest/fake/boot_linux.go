package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups is where the memory of machines is bounded, where the host lets it be.
const cgroups = "/sys/fs/cgroup/memory"

// Descriptors that a machine's two processes are given by those that start them.
const (
	readyFd    = 3 // of _boot-vm: it writes "ready" or what went wrong
	controlFd  = 3 // of the guest's init: what it says to _boot-vm
	listenerFd = 4 // of the guest's init: the agent's socket
)

// boot is a machine's process on the host. It holds the guest, and the sockets that are mounted in it.
func boot(config string) int {
	ready := os.NewFile(readyFd, "ready")
	unix.CloseOnExec(readyFd)
	said := func(format string, args ...any) int {
		_, _ = fmt.Fprintf(ready, format+"\n", args...)
		return 1
	}
	// Asked to end, it takes the guest along; before there is one, it just ends.
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, unix.SIGTERM, unix.SIGINT)
	signal.Ignore(unix.SIGHUP)

	b, err := os.ReadFile(config)
	var c bootConfig
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return said("boot config: %v", err)
	}
	dir := filepath.Dir(config)
	if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return said("%s", reason(err))
	}
	defer os.Remove(filepath.Join(dir, pidFile))
	if c.Sleep {
		said("ready")
		_ = ready.Close()
		<-ending
		return 0
	}
	g, err := startGuest(dir, b, c)
	if err != nil {
		return said("%v", err)
	}
	said("ready")
	_ = ready.Close()
	select {
	case <-ending:
	case <-g.gone:
	}
	g.end()
	return 0
}

// guestProcess is the guest's init as _boot-vm sees it.
type guestProcess struct {
	cmd     *exec.Cmd
	control *net.UnixConn
	gone    chan struct{}
	clean   []func()
}

func (g *guestProcess) end() {
	if g.cmd != nil && g.cmd.Process != nil {
		_ = g.cmd.Process.Kill()
		<-g.gone
	}
	for i := len(g.clean) - 1; i >= 0; i-- {
		g.clean[i]()
	}
}

// startGuest starts the guest and serves its mounted sockets.
func startGuest(dir string, config []byte, c bootConfig) (g *guestProcess, err error) {
	g = &guestProcess{gone: make(chan struct{})}
	defer func() {
		if err != nil {
			g.end()
		}
	}()
	agent, err := listenAt(dir, socketFile)
	if err != nil {
		return g, fmt.Errorf("bind %s: %s", filepath.Join(dir, socketFile), reason(err))
	}
	defer agent.Close()
	g.clean = append(g.clean, func() { _ = os.Remove(filepath.Join(dir, socketFile)) })
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return g, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	if g.control, err = unixConn(pair[0]); err != nil {
		return g, err
	}
	g.clean = append(g.clean, func() { _ = g.control.Close() })

	grouped := makeCgroup(c.Cgroup, c.Mem)
	g.clean = append(g.clean, func() { removeCgroup(c.Cgroup) })

	cmd := exec.Command("/proc/self/exe", guestWord)
	cmd.Args[0] = "smolvm-agent" // as the guest sees it
	cmd.Env = []string{}         // nothing of the host's is the guest's business
	cmd.ExtraFiles = []*os.File{theirs, agent}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL, // and with a namespace's init everything in it dies
		Setsid:     true,
	}
	feed, err := cmd.StdinPipe()
	if err != nil {
		return g, err
	}
	if err := cmd.Start(); err != nil {
		return g, fmt.Errorf("hypervisor not available: %w", err)
	}
	g.cmd = cmd
	go func() {
		_, _ = cmd.Process.Wait()
		close(g.gone)
	}()
	if grouped {
		// The guest waits for its config, so nothing of it escapes its group.
		if err := os.WriteFile(filepath.Join(c.Cgroup, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
			return g, err
		}
	}
	if _, err := feed.Write(config); err != nil {
		return g, err
	}
	if err := feed.Close(); err != nil {
		return g, err
	}
	listeners, err := g.answer()
	if err != nil {
		return g, err
	}
	for i, l := range listeners {
		go relay(l, c.Sockets[i].Host)
	}
	return g, nil
}

// answer waits for the guest: for its sockets, or for what went wrong.
func (g *guestProcess) answer() ([]*net.UnixListener, error) {
	text, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*64))
	n, oobn, _, _, err := g.control.ReadMsgUnix(text, oob)
	if err != nil || n == 0 {
		return nil, errors.New("the guest ended before its agent was ready")
	}
	if string(text[:n]) != "ready" {
		return nil, errors.New(string(text[:n]))
	}
	var listeners []*net.UnixListener
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), "socket")
			l, err := net.FileListener(f)
			_ = f.Close()
			if err != nil {
				return nil, err
			}
			u := l.(*net.UnixListener)
			u.SetUnlinkOnClose(false) // its name is the guest's
			listeners = append(listeners, u)
		}
	}
	return listeners, nil
}

// relay carries the bytes of each connection to a socket of the host's, and nothing but bytes.
func relay(l *net.UnixListener, host string) {
	for {
		inside, err := l.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			defer inside.Close()
			c, err := net.DialTimeout("unix", host, 5*time.Second)
			if err != nil {
				fmt.Fprintln(os.Stderr, "mounted socket:", err)
				return
			}
			outside := c.(*net.UnixConn)
			defer outside.Close()
			done := make(chan struct{}, 2)
			half := func(to, from *net.UnixConn) {
				// io.Copy would splice, which is as good, but says less when one side goes away.
				_, err := io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
				if err != nil {
					_ = to.Close()
				}
				_ = to.CloseWrite()
				done <- struct{}{}
			}
			go half(outside, inside)
			go half(inside, outside)
			<-done
			<-done
		}()
	}
}

// listenAt listens at a name in a folder, however long the folder's path is.
func listenAt(dir, name string) (*os.File, error) {
	d, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(d)
	_ = unix.Unlinkat(d, name, 0)
	return listen(fmt.Sprintf("/proc/self/fd/%d/%s", d, name))
}

func listen(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		err = unix.Listen(fd, 128)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "control")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// makeCgroup bounds a machine's memory where the first version of memory groups can be written, and
// says whether it could.
func makeCgroup(dir string, mem int) bool {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return false
	}
	limit := []byte(strconv.Itoa(mem << 20))
	if err := os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), limit, 0o644); err != nil {
		removeCgroup(dir)
		return false
	}
	// Without swap, if the kernel counts that.
	_ = os.WriteFile(filepath.Join(dir, "memory.memsw.limit_in_bytes"), limit, 0o644)
	return true
}

// removeCgroup removes a group, which is possible a moment after its last process has died.
func removeCgroup(dir string) {
	if dir == "" {
		return
	}
	for range 200 {
		if err := unix.Rmdir(dir); !errors.Is(err, unix.EBUSY) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
