//go:build linux

package confine

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread that ends with it. The process's first thread never ends: should it
// be given that one, it takes another.
func onThread(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	var start func()
	start = func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			start()
		}()
		<-ended
		runtime.UnlockOSThread()
	}
	go start()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T) string {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestApply(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		return // the backend's suite does it from a user namespace
	}
	before := sealed(status(t))
	var r Report
	onThread(t, func() (err error) {
		if r, err = Apply(Policy{UID: 1_000_777, GID: 1_000_777, Writable: []string{"/dev/null"}}); err != nil {
			return err
		}
		s := status(t)
		for _, want := range []string{
			"Uid:\t1000777\t1000777\t1000777\t1000777", "Gid:\t1000777\t1000777\t1000777\t1000777", "Groups:\t \n", "NoNewPrivs:\t1", "Seccomp:\t2",
			"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		} {
			if !strings.Contains(s, want) {
				t.Errorf("the thread's status lacks %q:\n%s", want, s)
			}
		}
		if err := unix.Unshare(unix.CLONE_NEWUSER); !errors.Is(err, unix.EPERM) {
			t.Errorf("unshare: %v", err)
		}
		// Raw: the wrapper would try it on all threads.
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); e != unix.EPERM {
			t.Errorf("become root again: %v", e)
		}
		return nil
	})
	if r.Landlock != LandlockABI() {
		t.Errorf("reached Landlock %d of %d", r.Landlock, LandlockABI())
	}
	// The rest of the process is as it was.
	if after := sealed(status(t)); after != before {
		t.Errorf("the process was %q and is %q", before, after)
	}
}

// sealed returns the lines of a status that tell of confinement.
func sealed(status string) string {
	var out string
	for line := range strings.Lines(status) {
		if strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Seccomp") || strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "Uid") {
			out += line
		}
	}
	return out
}

func TestLandlock(t *testing.T) {
	t.Parallel()
	if LandlockABI() == 0 {
		return // a kernel without: there is nothing to reach
	}
	open, closed := t.TempDir(), t.TempDir()
	write := func(path string) error {
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}
	if err := errors.Join(write(filepath.Join(closed, "there")), write(filepath.Join(open, "there"))); err != nil {
		t.Fatal(err)
	}
	onThread(t, func() error {
		var r Report
		if err := errors.Join(noNewPrivs(), restrictFiles(Policy{Writable: []string{open, "/dev/null"}, Devices: []string{"/dev"}}, &r)); err != nil {
			return err
		}
		for path, want := range map[string]error{
			filepath.Join(open, "new"): nil, filepath.Join(open, "there"): nil,
			filepath.Join(closed, "new"): unix.EACCES, filepath.Join(closed, "there"): unix.EACCES,
		} {
			if err := write(path); !errors.Is(err, want) {
				t.Errorf("write %s: %v, want %v", path, err, want)
			}
		}
		if err := unix.Rename(filepath.Join(open, "there"), filepath.Join(closed, "moved")); err == nil {
			t.Error("a file was moved out")
		}
		if err := unix.Truncate(filepath.Join(closed, "there"), 0); r.Landlock >= 3 && !errors.Is(err, unix.EACCES) {
			t.Errorf("truncate: %v", err)
		}
		if err := unix.Kill(unix.Getppid(), 0); r.Landlock >= 6 && !errors.Is(err, unix.EPERM) {
			t.Errorf("signal the parent: %v", err)
		}
		fd, err := unix.Open("/proc/thread-self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Errorf("read: %v", err)
		}
		return unix.Close(fd)
	})
}

func TestMissingPathIsAnError(t *testing.T) {
	t.Parallel()
	if LandlockABI() == 0 {
		return // nothing is opened
	}
	onThread(t, func() error {
		var r Report
		if err := restrictFiles(Policy{Writable: []string{"/not/there"}}, &r); !errors.Is(err, unix.ENOENT) || r.Landlock != 0 {
			t.Errorf("%v, Landlock %d", err, r.Landlock)
		}
		return nil
	})
}
