package docker

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ordinary is a user id that no distribution hands out and no file belongs to.
const ordinary = 1_000_778

// The suite as most people have it: an ordinary user who may use the engine of this host. When root
// runs the tests a user is made up for it; else TestSuite was that.
func TestSuiteAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	kinds[0].needed(t)
	dir, err := os.MkdirTemp("", "ordinary-") // not t.TempDir, whose parents are root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	suite, cork := filepath.Join(dir, "suite.test"), filepath.Join(dir, "claude-bottle")
	for from, to := range map[string]string{self: suite, os.Getenv(corkVariable): cork} {
		if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	socket := filepath.Join(dir, "engine.sock")
	relay(t, socket, strings.TrimPrefix(os.Getenv(kinds[0].host), "unix://"))
	if err := errors.Join(os.Chown(dir, ordinary, ordinary), os.Chmod(dir, 0o700), os.Chmod(socket, 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, k := range []kind{kinds[0], kinds[2]} { // on the host's kernel, and on gVisor's
		t.Run(k.name, func(t *testing.T) {
			cmd := exec.Command(suite, "-test.run=^TestSuite$/^"+k.name+"$")
			cmd.Dir = dir
			cmd.Env = []string{
				"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH"), "CI=1", corkVariable + "=" + cork,
				"CLAUDE_BOTTLE_TEST_BASE=" + os.Getenv("CLAUDE_BOTTLE_TEST_BASE"), k.host + "=unix://" + socket,
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}, Pdeathsig: syscall.SIGKILL}
			cmd.WaitDelay = 20 * time.Second // what a suite that fails leaves has its output open
			runtime.LockOSThread()           // whose end would be the suite's
			defer runtime.UnlockOSThread()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// relay serves the engine's socket at another path, until the test ends.
func relay(t *testing.T, at, engine string) {
	t.Helper()
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			all.Go(func() { pass(c, engine) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // the test is over
		all.Wait()
	})
}

// pass carries one connection both ways, each end told when the other is done.
func pass(c net.Conn, engine string) {
	defer c.Close()
	e, err := net.Dial("unix", engine)
	if err != nil {
		return // who called sees the end
	}
	defer e.Close()
	var out sync.WaitGroup
	copyTo := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // how it ended is seen by both
		_ = to.(*net.UnixConn).CloseWrite()
	}
	out.Go(func() { copyTo(e, c) })
	copyTo(c, e)
	out.Wait()
}
