package plan_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/plan"
)

// sealedDeed names, in the environment of a second run of the test binary, what that run is to do
// where starting a process and opening a socket kill.
const sealedDeed = "CLAUDE_BOTTLE_TEST_SEALED"

func TestMain(m *testing.M) {
	if deed := os.Getenv(sealedDeed); deed != "" {
		if err := sealed(deed, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// seal makes the kernel kill the whole process at any attempt to start another or to open a
// socket. Threads may be made: the runtime does.
func seal() error {
	const cloneThread = 0x10000
	banned := []string{"execve", "execveat", "socket", "socketpair", "connect"}
	if runtime.GOARCH == "amd64" {
		banned = append(banned, "fork", "vfork")
	}
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls: []seccomp.SyscallGroup{{
				// Its flags lie in memory, where a filter can't look, and the C library makes threads
				// with it. It does with clone what it can't do with this, and so is seen.
				Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS),
				Names:  []string{"clone3"},
			}, {
				Action: seccomp.ActionKillProcess,
				Names:  banned,
				NamesWithCondtions: []seccomp.NameWithConditions{{
					Name:       "clone",
					Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsNotSet, Value: cloneThread}},
				}},
			}},
		},
	})
}

func sealed(deed, dir string) error {
	if err := seal(); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	switch deed {
	case "exec":
		return exec.Command("/bin/true").Run()
	case "dial":
		c, err := net.Dial("tcp", "127.0.0.1:1")
		if err == nil {
			err = c.Close()
		}
		return err
	case "resolve":
		_, err := net.LookupHost("example.org")
		return err
	}
	m, err := manifest.Open(filepath.Join(dir, "home"), dir)
	if err != nil {
		return err
	}
	p, err := plan.Build(m, plan.Request{Agent: "agent-7", Bottles: []string{"bottle-7", "bottle-8"}, Prompt: "x"}, plan.Host{
		LookupEnv: func(string) (string, bool) { return "x", true },
		Backends:  []backend.Facts{{Name: "native", Ready: true}},
		Skills:    os.DirFS(filepath.Join(dir, "skills")),
		ReadFile:  os.ReadFile,
		Random:    rand.Reader,
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(p)
}

// TestPrepareStartsNothingAndDialsNothing runs prepare, from the files to the plan, where starting
// a process or opening a socket is death, and proves first that it is.
func TestPrepareStartsNothingAndDialsNothing(t *testing.T) {
	t.Parallel()
	dir := manyManifests(t)
	run := func(deed string) (string, error) {
		cmd := exec.Command(os.Args[0], dir)
		cmd.Env = append(slices.Clone(os.Environ()), sealedDeed+"="+deed)
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
			if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGSYS {
				err = errKilled
			}
		}
		return string(out), err
	}
	for _, deed := range []string{"exec", "dial", "resolve"} {
		if _, err := run(deed); !errors.Is(err, errKilled) {
			t.Errorf("the seal doesn't notice %q: %v", deed, err)
		}
	}
	out, err := run("prepare")
	if err != nil || !strings.Contains(out, `"bottles":["bottle-7","bottle-8"]`) {
		t.Errorf("prepare: %v\n%s", err, out)
	}
}

var errKilled = errors.New("killed by the seal")
