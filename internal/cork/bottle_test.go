//go:build linux

package cork_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/cork"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// corkSecret is in the environment of every cork here; nothing inside may see it.
const corkSecret = "CORK_TEST_SECRET=do-not-leak"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role := roles[os.Args[1]]; role != nil {
			role()
			return
		}
	}
	os.Exit(m.Run())
}

// roles are what this test binary does when it is started again: cork itself, and programs the
// agent might bring along.
var roles = map[string]func(){
	"role-cork":    corkMain,
	"role-signals": signalsMain,
	"role-spy":     spyMain,
}

// agentUID is who the agent is in these bottles. Where the test may map no second user, cork and
// agent share one, as in a bottle of an ordinary user, and the claims must hold just the same.
func agentUID() int {
	if os.Getuid() == 0 {
		return 1000
	}
	return 0
}

// bottle is a cork in its own user, pid and mount namespaces.
type bottle struct {
	*wire.Session
	cmd *exec.Cmd
}

// uncork starts a bottle. It ends with the test, and must end well.
func uncork(t testing.TB, args ...string) *bottle {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "warden"), os.NewFile(uintptr(fds[1]), "cork")
	defer ours.Close()
	defer theirs.Close()
	leaked, err := os.Open("/dev/null") // stands for whatever a sloppy parent left open
	if err != nil {
		t.Fatal(err)
	}
	defer leaked.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, append([]string{"role-cork", strconv.Itoa(agentUID())}, args...)...)
	cmd.Env = append(os.Environ(), corkSecret)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs, leaked}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.UidMappings[0].Size, cmd.SysProcAttr.GidMappings[0].Size = 65536, 65536
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start a cork in namespaces: %v", err)
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	b := &bottle{wire.NewSession(conn, wire.Warden), cmd}
	t.Cleanup(func() {
		_ = b.Close()
		_ = b.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("cork ended with %v", err)
		}
	})
	return b
}

// corkMain is PID 1 of a test's bottle. It exits with 9 if anything outlived Serve.
func corkMain() {
	runtime.LockOSThread() // so that whatever confines a thread meets the first one sooner or later
	runtime.UnlockOSThread()
	die := func(what string, err error) {
		fmt.Fprintln(os.Stderr, "cork:", what, err)
		os.Exit(8)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		die("mounts", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		die("proc", err)
	}
	conn, err := net.FileConn(os.NewFile(3, "wire"))
	if err != nil {
		die("wire", err)
	}
	uid, err := strconv.Atoi(os.Args[2])
	if err != nil {
		die("uid", err)
	}
	cfg := cork.Config{
		Confine: func() error { return becomeAgent(uid) },
		Probes:  []func(wire.ProbeRequest) []wire.ProbeResult{probeMain},
	}
	for _, a := range os.Args[3:] {
		switch a {
		case "privileged": // an agent with all rights of the bottle's root
			cfg.Confine = func() error { return nil }
		case "two-commands":
			cfg.MaxCommands = 2
		case "no-confinement":
			cfg.Confine = func() error { return errors.New("refused") }
		}
	}
	if err := cork.Serve(context.Background(), wire.NewSession(conn, wire.Cork), cfg); err != nil {
		if len(os.Args) > 3 && os.Args[3] == "no-confinement" {
			return
		}
		die("serve", err)
	}
	for _, p := range others() {
		fmt.Fprintln(os.Stderr, "cork: outlived by", p)
		os.Exit(9)
	}
}

// others lists the processes besides this one.
func others() []string {
	var list []string
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range dir {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			list = append(list, e.Name())
		}
	}
	return list
}

// becomeAgent is the least a confinement does: another user, no capabilities, no way to get any.
func becomeAgent(uid int) error {
	if uid != 0 {
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			return e
		}
	}
	id := uintptr(uid)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); e != 0 {
		return e
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if _, _, e := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&none[0])), 0); e != 0 {
		return e
	}
	// Without this, executing a program as uid 0 of the namespace would give everything back.
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// probeMain says who it was asked as, and starts and waits for a process as a real probe may.
func probeMain(req wire.ProbeRequest) []wire.ProbeResult {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return nil
	}
	leader := unix.Gettid() == unix.Getpid()
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
	if err == nil {
		var ws syscall.WaitStatus
		_, err = syscall.Wait4(pid, &ws, 0, nil)
	}
	return []wire.ProbeResult{{Name: req.Nonce, OK: !leader && err == nil, Attack: string(status), Control: fmt.Sprint(err)}}
}

// result is what a command left.
type result struct {
	out, err string
	wire.Exit
}

func (b *bottle) start(t testing.TB, c wire.Command) *wire.Process {
	t.Helper()
	if c.Dir == "" {
		c.Dir = "/"
	}
	if c.Env == nil {
		c.Env = []string{"PATH=/usr/bin:/bin"}
	}
	p, err := wire.Exec(t.Context(), b.Session, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs a command to its end with the given input.
func (b *bottle) run(t testing.TB, input string, c wire.Command) result {
	t.Helper()
	p := b.start(t, c)
	go func() {
		_, _ = io.WriteString(p.Stdin, input)
		_ = p.Stdin.Close()
	}()
	errs := make(chan string)
	go func() {
		e, _ := io.ReadAll(p.Stderr)
		errs <- string(e)
	}()
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		t.Errorf("output: %v", err)
	}
	r := result{out: string(out), err: <-errs}
	if r.Exit, err = p.Wait(); err != nil {
		t.Errorf("%q: %v", c.Argv, err)
	}
	return r
}

func (b *bottle) sh(t testing.TB, script string) result {
	t.Helper()
	return b.run(t, "", wire.Command{Argv: []string{"sh", "-c", script}})
}

// self runs this test binary in the bottle in one of its roles.
func (b *bottle) self(t testing.TB, role string, args ...string) result {
	t.Helper()
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(agentDir(t), "self") // where it is now the agent may have no way to
	writeProgram(t, at, exe)
	return b.run(t, "", wire.Command{Argv: append([]string{at, role}, args...)})
}

// writeProgram writes a file that is executed next. What another test forks meanwhile would have it open for
// writing until it is another program, and nobody could run it (golang/go#22315).
func writeProgram(t testing.TB, path string, text []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
