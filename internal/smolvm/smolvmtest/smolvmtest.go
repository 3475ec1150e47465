// Package smolvmtest is a strict stand-in for the smolvm program, for tests of what drives it. The
// stand-in reads its command line by smolvm 1.9.2's own list of arguments and fails where that fails; it
// keeps machines across processes, and really runs them: in namespaces of this host, with the image's
// file system and the sockets that are mounted in it. It plays 0.8.2 too, for drivers to refuse.
//
//	func TestMain(m *testing.M) { … built, err = smolvmtest.Build(dir) … }
//
//	func TestStart(t *testing.T) {
//		tool := smolvmtest.Install(t, built, t.TempDir())
//		tool.Fault(smolvmtest.Faults{StartTimeout: true})
//		… run tool.Path() …
//		for _, c := range tool.Calls() { if err := smolvmtest.Known(c.Argv); err != nil { … } }
//	}
//
// Machines need Linux and root. Their root is this host's: run nothing in them that needs a sandbox.
package smolvmtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/setup"
	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/table"
)

type (
	// Faults are what goes wrong.
	Faults = setup.Faults
	// Call is one run of the stand-in.
	Call = setup.Call
)

// Build builds the stand-in into dir, for Install, and returns its path. It is for TestMain: one build
// serves all tests of a package.
func Build(dir string) (path string, err error) {
	path = filepath.Join(dir, "smolvm")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/fake")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the stand-in for smolvm: %w\n%s", err, out)
	}
	return path, nil
}

// Known says why smolvm 1.9.2 would not take a command line, given without the program's name, or nil.
func Known(argv []string) error {
	if len(argv) == 1 && argv[0] == "--version" {
		return nil
	}
	_, err := table.For(setup.Version).Parse(argv)
	var said *table.Exit
	if errors.As(err, &said) && said.Code == 0 {
		return nil // help
	}
	return err
}

// Tool is an installed stand-in. Its methods are safe for concurrent use.
type Tool struct {
	t    testing.TB
	path string

	mu     sync.Mutex
	config setup.Config
}

// Install puts the built stand-in into dir, which is made if it is not there and which no other Tool may
// share. When the test ends, the machines that it started are ended too, whichever data folder they are
// in. Their folders stay.
func Install(t testing.TB, built string, dir string) *Tool {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		// The kernel names running programs by their real path.
		dir, err = filepath.EvalSymlinks(dir)
	}
	tool := &Tool{t: t, path: filepath.Join(dir, "smolvm"), config: setup.Config{Version: setup.Version}}
	if err == nil {
		err = link(built, tool.path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tool.end)
	return tool
}

// link gives a file a second name, or copies it to another file system.
func link(from, to string) error {
	if err := os.Link(from, to); err == nil || errors.Is(err, os.ErrExist) {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	// Whatever is forked while a program is open for writing keeps it from being run; a copy that a
	// rename puts in place was closed before anybody knew its name, which is as good as it gets.
	tmp := to + ".new"
	if err := os.WriteFile(tmp, b, 0o755); err != nil {
		return err
	}
	return os.Rename(tmp, to)
}

// Path is the program's.
func (tool *Tool) Path() string { return tool.path }

func (tool *Tool) dir() string { return filepath.Dir(tool.path) }

// SetVersion makes the stand-in another version: before 1.0.2, that of the old command line.
func (tool *Tool) SetVersion(version string) {
	tool.t.Helper()
	tool.change(func(c *setup.Config) { c.Version = version })
}

// Fault says what goes wrong from now on, instead of what was said before. A run that has begun is not
// affected, but for one that packs slowly, which goes on when it is no longer to be slow.
func (tool *Tool) Fault(f Faults) {
	tool.t.Helper()
	tool.change(func(c *setup.Config) { c.Faults = f })
}

func (tool *Tool) change(do func(*setup.Config)) {
	tool.t.Helper()
	tool.mu.Lock()
	defer tool.mu.Unlock()
	do(&tool.config)
	if err := tool.config.Write(tool.dir()); err != nil {
		tool.t.Error(err)
	}
}

// Calls are all runs so far, in the order in which they began. The processes of machines are none.
func (tool *Tool) Calls() []Call {
	tool.t.Helper()
	calls, err := setup.Calls(tool.dir())
	if err != nil {
		tool.t.Error(err)
	}
	return calls
}

// Running are the processes of machines that live, whatever smolvm knows of them.
func (tool *Tool) Running() []int {
	var pids []int
	for _, pid := range tool.processes() {
		words, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.Contains(words, []byte("\x00_boot-vm\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processes are all that run this program and have not ended.
func (tool *Tool) processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A zombie has no program any more, and so it is not found here.
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && strings.TrimSuffix(exe, " (deleted)") == tool.path {
			pids = append(pids, pid)
		}
	}
	return pids
}

// end ends whatever runs this program, and removes the memory groups of its machines. Their mounts are in
// namespaces of their own and go with them.
func (tool *Tool) end() {
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		pids := tool.processes()
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
	}
	vms, err := setup.VMs(tool.dir())
	if err != nil {
		return
	}
	for _, vm := range vms {
		// The last process of a group leaves it a moment after it has died.
		for range 3000 {
			if err := os.Remove(vm.Cgroup); vm.Cgroup == "" || err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
