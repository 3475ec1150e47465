//go:build linux

package probe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
	"github.com/claude-bottle/claude-bottle/internal/cork/probe"
	"github.com/claude-bottle/claude-bottle/internal/selftest"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// The tests run the probes in a bottle in miniature: this test binary again, as the first process
// of new namespaces, with the real network jail, the real egress engine and the real confinement
// of a thread. Each leak is one thing left undone or one hole made.

// order is what a miniature bottle is told.
type order struct {
	Request wire.ProbeRequest
	Leaks   []string
}

func (o order) leaks(name string) bool { return slices.Contains(o.Leaks, name) }

// report is what it answers.
type report struct {
	Results []wire.ProbeResult
	Took    time.Duration
	Error   string
}

const inBottle = "CLAUDE_BOTTLE_PROBE_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(inBottle) == "" {
		os.Exit(m.Run())
	}
	var o order
	var r report
	err := json.NewDecoder(os.Stdin).Decode(&o)
	if err == nil {
		r, err = live(o)
	}
	if err != nil {
		r.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// live is a miniature bottle's whole life.
func live(o order) (report, error) {
	if err := raise(o); err != nil {
		return report{}, fmt.Errorf("file system: %w", err)
	}
	stop, err := serve(o)
	if err != nil {
		return report{}, fmt.Errorf("network: %w", err)
	}
	defer stop()
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return report{}, err
	}
	var r report
	done := make(chan error)
	go onOwnThread(func() {
		if !o.leaks("unconfined") {
			writable := []string{"/home/agent", "/workspace", "/tmp", "/dev"}
			if o.leaks("root-writable") {
				writable = append(writable, "/usr/bin") // or Landlock would stop what the mount does not
			}
			if _, err := confine.Apply(confine.Policy{UID: 1000, GID: 1000, PIDs: 500, Writable: writable, Devices: []string{"/dev"}}); err != nil {
				done <- err
				return
			}
			if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
				done <- err
				return
			}
		}
		began := time.Now()
		for _, part := range probe.Parts() {
			r.Results = append(r.Results, part(o.Request)...)
		}
		r.Took = time.Since(began)
		done <- nil
	})
	return r, <-done
}

// onOwnThread runs f on a thread that is not the process's first and ends with f.
func onOwnThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOwnThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

// start runs a miniature bottle over a fresh bait and returns what both sides saw.
func start(t *testing.T, leaks ...string) (report, *selftest.Bait) {
	t.Helper()
	bait, err := selftest.Prepare(t.Context(), selftest.Options{Dir: t.TempDir(), Limits: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bait.Close(); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	in, err := json.Marshal(order{Request: bait.Request(), Leaks: leaks})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// By descriptor: the bottle's user may not walk to where the test binary lies.
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	// The race detector would hold every ended process for a second.
	cmd.Env = []string{inBottle + "=1", "GORACE=atexit_sleep_ms=0", "CLAUDE_BOTTLE_LEAK=" + strings.Join(leaks, ",")}
	cmd.Stdin = bytes.NewReader(in)
	cmd.SysProcAttr = namespaces()
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil {
		t.Fatalf("the miniature bottle: %v\n%s", err, diag.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("the miniature bottle answered %q: %v\n%s", out.String(), err, diag.String())
	}
	if r.Error != "" {
		t.Fatal(errors.New(r.Error))
	}
	return r, bait
}

// namespaces are a bottle's. Root maps a range of users; anybody else has only himself to map.
func namespaces() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Getuid() == 0 {
		const base, size = 1 << 20, 1 << 16
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: size}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: size}}
		a.GidMappingsEnableSetgroups = true
		a.Credential = &syscall.Credential{}
		return a
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		a.AmbientCaps = append(a.AmbientCaps, c)
	}
	return a
}
