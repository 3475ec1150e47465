package native

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend/backendtest"
)

// The whole suite, as whoever runs the tests.
func TestSuite(t *testing.T) {
	backendtest.Run(t, backendtest.Config{Open: open, Enforced: Facts().Limits})
}

// ordinary is a user id that no distribution hands out and no file belongs to.
const ordinary = 1_000_777

// The whole suite again as an ordinary user, when root runs the tests.
func TestSuiteAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // TestSuite was that
	}
	t.Parallel()
	out, err := asOrdinary(t, "-test.run=^Test(Suite|NotCork|HangingCork|CorkKilled|IdentitiesOnTheHost|LockedFolder|DiskLimit|TakenBy)$")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// asOrdinary runs this test binary as an ordinary user, in folders of that user's.
func asOrdinary(t *testing.T, args ...string) (string, error) {
	t.Helper()
	// Not t.TempDir, whose parents are root's alone.
	dir, err := os.MkdirTemp("", "ordinary-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe := filepath.Join(dir, "suite.test")
	if err := errors.Join(copySelf(exe), os.Chown(dir, ordinary, ordinary), os.Chmod(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 20 * time.Second // what a suite that fails leaves has its output open
	runtime.LockOSThread()           // whose end would be the suite's
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	return out.String(), err
}

// copySelf has another process write the copy: if this one did, a process that is being started
// beside us could have it open for writing just when it is to be executed.
func copySelf(to string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return errors.Join(exec.Command("cp", exe, to).Run(), os.Chmod(to, 0o755))
}
