package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asUser, when set, has the test binary say what the engine it holds looks like to its user.
const asUser = "ENGINE_TEST_WHERE"

// ordinary is a user id that no distribution hands out and no file belongs to.
const ordinary = 1_000_777

// bin is a folder on PATH in which a test may put programs.
var bin string

func TestMain(m *testing.M) {
	if where := os.Getenv(asUser); where != "" {
		os.Exit(look(where))
	}
	// What the engines leave behind when they end becomes ours, to be found and waited for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	var err error
	if bin, err = os.MkdirTemp("", "engine-bin-"); err != nil {
		panic(err)
	}
	if err := os.Setenv("PATH", bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, stop := range stops {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			code = 1
		}
	}
	if left := leftovers(); left != "" {
		fmt.Fprintln(os.Stderr, "FAIL: still running after all tests:", left)
		code = 1
	}
	_ = os.RemoveAll(bin)
	os.Exit(code)
}

// stops end what the tests share.
var stops []func() error

// leftovers gives what is ending a moment to do so, and names the processes that do not.
func leftovers() string {
	for range 600 {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.ECHILD) {
			return ""
		}
		if pid <= 0 {
			time.Sleep(50 * time.Millisecond)
		}
	}
	return children()
}

// children are the command lines of this process's children.
func children() string {
	var all []string
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		pids, _ := os.ReadFile(list)
		for _, pid := range strings.Fields(string(pids)) {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			all = append(all, pid+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return strings.Join(all, "\n")
}

// view is what an engine looks like to somebody.
type view struct {
	Why, Fix   string
	Reason     Reason
	Text, Hint string
	Info       Info
}

// look is the test binary as another user: it prints its view.
func look(where string) int {
	var w Where
	if err := json.Unmarshal([]byte(where), &w); err != nil {
		panic(err)
	}
	var v view
	v.Why, v.Fix = w.Obstacle()
	e, err := Connect(context.Background(), w)
	if failed, ok := errors.AsType[*Error](err); ok {
		v.Reason, v.Text, v.Hint = failed.Reason, failed.Error(), failed.Hint()
	} else {
		v.Info = e.Info()
	}
	fmt.Println(asJSON(v))
	return 0
}

// publicSelf is this test binary where every user may start it. Another process writes it: one
// that is started beside us could hold ours open for writing.
var publicSelf = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	exe := filepath.Join(bin, "engine.test")
	return exe, errors.Join(err, exec.Command("cp", self, exe).Run(), os.Chmod(bin, 0o755), os.Chmod(exe, 0o755))
})

// seenBy runs look with other ids.
func seenBy(t *testing.T, uid, gid uint32, w Where) view {
	t.Helper()
	exe, err := publicSelf()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Dir, cmd.Env = "/", []string{asUser + "=" + asJSON(w), "PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	out, err := cmd.Output()
	var v view
	if err := errors.Join(err, json.Unmarshal(out, &v)); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return v
}

// server is a daemon of the tests', in a folder of its own.
type server struct {
	dir string
	cmd *exec.Cmd
	log string
	// done is closed when it ended.
	done chan struct{}
}

// serve starts a daemon that ends with us whatever happens: the signal of a parent's death is tied
// to the thread that started it, which is kept.
func serve(dir string, cmd *exec.Cmd) (*server, error) {
	s := &server{dir: dir, cmd: cmd, log: filepath.Join(dir, "log"), done: make(chan struct{})}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = syscall.SIGTERM, true
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(s.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // however it ended, it did
		}
	}()
	return s, <-started
}

// ready waits until f succeeds.
func (s *server) ready(f func() error) error {
	var err error
	for range 900 {
		if err = f(); err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended: %s", s.said())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%w: %s", err, s.said())
}

func (s *server) said() string {
	out, _ := os.ReadFile(s.log)
	return string(out[max(0, len(out)-2000):])
}

// stop ends the daemon and removes its folder, mounts first.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	var err error
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		err = fmt.Errorf("%s had to be killed: %s", s.cmd.Path, s.said())
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // what it started and left, as a rootless Podman does itself
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], s.dir+"/") {
			err = errors.Join(err, unix.Unmount(f[4], unix.MNT_DETACH))
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// ports are those that freePort has not given yet. They are below the ones that the kernel hands out
// (ip(7), ip_local_port_range), of which any could be anybody's by the time it is used.
var ports = struct {
	sync.Mutex
	next int
}{next: 10_000 + rand.IntN(20_000)}

// freePort is a TCP port on the loopback that nobody has.
func freePort() (string, error) {
	ports.Lock()
	defer ports.Unlock()
	var err error
	for range 100 {
		ports.next++
		port := strconv.Itoa(ports.next)
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", err
}

// daemon is a real Docker Engine, reached by its socket and by TCP with client certificates.
type daemon struct {
	*server
	socket, tcp string // addresses
	certs       *authority
}

// startDaemon starts the daemon that the tests share.
var startDaemon = sync.OnceValues(func() (d *daemon, err error) {
	dir, err := os.MkdirTemp("", "engine-docker-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	d = &daemon{socket: "unix://" + dir + "/docker.sock", tcp: "tcp://127.0.0.1:" + port}
	if d.certs, err = newAuthority(dir); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/daemon.json", []byte(`{"runtimes": {"runsc": {"path": "/bin/true"}}}`), 0o600)); err != nil {
		return nil, err
	}
	d.server, err = serve(dir, exec.Command("dockerd", "--config-file", dir+"/daemon.json", "--data-root", dir+"/data", "--exec-root", dir+"/exec",
		"--pidfile", dir+"/pid", "--storage-driver", "vfs", "--bridge=none", "--iptables=false", "--ip-forward=false", "-H", d.socket, "-H", d.tcp,
		"--tlsverify", "--tlscacert", d.certs.ca, "--tlscert", d.certs.server.Cert, "--tlskey", d.certs.server.Key))
	if err != nil {
		return nil, err
	}
	stops = append(stops, d.stop)
	return d, d.ready(func() error {
		e, err := Connect(context.Background(), Where{Host: d.socket})
		if err != nil {
			return err
		}
		return e.Close()
	})
})

// docker is the shared daemon.
func docker(t *testing.T) *daemon {
	t.Helper()
	needRoot(t)
	need(t, "dockerd", "containerd")
	d, err := startDaemon()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a Docker Engine of our own needs root")
	}
}
