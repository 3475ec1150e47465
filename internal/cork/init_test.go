//go:build linux

package cork_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

func hostSh(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	b.sh(t, "for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'sleep 0.0$$' & ) ; done; setsid sh -c 'true & true &' &")
	eventually(t, "no zombie is left", func() bool {
		return !strings.Contains(b.sh(t, "cat /proc/[0-9]*/stat").out, ") Z ")
	})
}

// The bottle's PID 1 checks itself that nothing outlived Serve; see corkMain.
func TestEndOfTheWireKillsEverything(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	p := b.start(t, wire.Command{Argv: []string{"sh", "-c", "trap '' HUP TERM INT; setsid -f sleep 1000; (setsid sh -c 'trap \"\" HUP TERM; sleep 1000 & wait' &); echo up; sleep 1000"}})
	q := b.start(t, wire.Command{Argv: []string{"sh", "-c", "echo up; while :; do (sleep 1000 &) ; sleep 0.001; done"}, TTY: true})
	expect(t, p.Stdout, "up\n")
	expect(t, q.Stdout, "up")
	_ = b.Close()
	if _, err := p.Wait(); !errors.Is(err, wire.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestNothingStartsWithoutConfinement(t *testing.T) {
	t.Parallel()
	b := uncork(t, "no-confinement")
	p := b.start(t, wire.Command{Argv: []string{"true"}})
	if exit, err := p.Wait(); err == nil {
		t.Errorf("a command ran unconfined: %+v", exit)
	}
}

// signalsMain sends every signal to PID 1 in every way there is.
func signalsMain() {
	for i := range uintptr(3 * 65) { // more than once: two that are pending count as one
		sig := i % 65
		_, _, _ = unix.RawSyscall(unix.SYS_KILL, 1, sig, 0)
		// Queued signals carry what their sender says they carry; si_code SI_QUEUE, and a
		// "fault address" far from zero.
		info := [16]uint64{0: uint64(sig), 1: 0xffffffff, 2: 0xdeadbeefdeadbeef}
		_, _, _ = unix.RawSyscall(unix.SYS_RT_SIGQUEUEINFO, 1, sig, uintptr(unsafe.Pointer(&info)))
		tasks, _ := os.ReadDir("/proc/1/task")
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			_, _, _ = unix.RawSyscall(unix.SYS_TGKILL, 1, uintptr(tid), sig)
			_, _, _ = unix.RawSyscall(unix.SYS_TKILL, uintptr(tid), sig, 0)
			_, _, _ = unix.RawSyscall(unix.SYS_KILL, uintptr(tid), sig, 0)
			_, _, _ = unix.RawSyscall6(unix.SYS_RT_TGSIGQUEUEINFO, 1, uintptr(tid), sig, uintptr(unsafe.Pointer(&info)), 0, 0)
		}
	}
	fmt.Println("sent")
}

func TestNoSignalFromInsideEndsPID1(t *testing.T) {
	t.Parallel()
	for _, agent := range []string{"agent", "privileged"} {
		t.Run(agent, func(t *testing.T) {
			t.Parallel()
			b := uncork(t, agent)
			b.sh(t, "for s in KILL QUIT TERM INT HUP ABRT SEGV STOP TSTP USR1 PIPE; do kill -$s 1; done")
			if got := b.self(t, "role-signals"); got.out != "sent\n" {
				t.Errorf("%+v", got)
			}
			// Signals of PID 1 must not have leaked into what it starts, as ignored or blocked.
			got := b.sh(t, "grep -e SigBlk -e SigIgn /proc/self/status; kill -SEGV $$")
			if got.Signal != "SIGSEGV" {
				t.Errorf("%+v", got)
			}
			for _, l := range lines(got.out) {
				if strings.Trim(strings.Fields(l)[1], "0") != "" {
					t.Errorf("a program inherits %s", l)
				}
			}
		})
	}
}

// spyMain tries to look into PID 1 and all its threads, and prints what it got.
func spyMain() {
	report := func(what string, err error) { fmt.Printf("%s: %v\n", what, err) }
	paths, _ := filepath.Glob("/proc/1/task/*")
	for _, p := range append(paths, "/proc/1") {
		for _, name := range []string{"environ", "mem", "maps", "auxv", "syscall", "stack", "map_files"} {
			b := make([]byte, 1)
			f, err := os.Open(p + "/" + name)
			if err == nil {
				switch name {
				case "mem":
					_, err = f.ReadAt(b, int64(uintptr(unsafe.Pointer(&b[0]))))
				case "map_files":
					_, err = f.Readdirnames(1)
				default:
					_, err = f.Read(b)
				}
			}
			report("read "+name, err)
		}
		for fd := range 12 {
			_, err := os.Readlink(p + "/fd/" + strconv.Itoa(fd))
			report("link of fd", err)
			_, err = os.Open(p + "/fd/" + strconv.Itoa(fd))
			report("open fd", err)
		}
		for _, name := range []string{"root", "cwd", "exe"} {
			_, err := os.Readlink(p + "/" + name)
			report("link of "+name, err)
		}
		tid, _ := strconv.Atoi(filepath.Base(p))
		// Seizing does not stop its victim, which carries this report; attaching would.
		_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, 0, 0, 0)
		if e != 0 {
			_, _, e = unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(tid), 0, 0, 0, 0)
		}
		report("ptrace", errnoErr(e))
		b := make([]byte, 8)
		local := unix.Iovec{Base: &b[0], Len: 8}
		_, _, e = unix.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(tid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&local)), 1, 0)
		report("process_vm_readv", errnoErr(e))
	}
	pidfd, err := unix.PidfdOpen(1, 0)
	if err == nil {
		_, err = unix.PidfdGetfd(pidfd, 3, 0)
	}
	report("pidfd_getfd", err)
}

func errnoErr(e syscall.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

func TestPID1CantBeLookedInto(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	got := b.self(t, "role-spy")
	seen := lines(got.out)
	if len(seen) < 40 || got.Code != 0 {
		t.Fatalf("the spy did not do its work: %+v", got)
	}
	for _, l := range seen {
		if strings.HasSuffix(l, ": <nil>") {
			t.Errorf("the agent could %s", l)
		}
	}
	// The benign twin: the same looks succeed on a process of the agent's own.
	if got := b.sh(t, "cat /proc/$$/environ | grep -c PATH; readlink /proc/$$/fd/0 >/dev/null && echo ok"); got.out != "1\nok\n" {
		t.Errorf("the agent can't look into its own processes: %+v", got)
	}
}

func TestOneCommandMayEndAnother(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	p := b.start(t, wire.Command{Argv: []string{"sh", "-c", "echo $$; cat"}})
	pid := make([]byte, 16)
	n, err := p.Stdout.Read(pid)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.sh(t, "kill -TERM "+strings.TrimSpace(string(pid[:n]))); got.Code != 0 {
		t.Errorf("one command can't end another: %+v", got)
	}
	if exit, err := p.Wait(); exit.Signal != "SIGTERM" || err != nil {
		t.Errorf("%+v, %v", exit, err)
	}
}

func TestProbeRunsConfinedAndMayWaitForProcesses(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	for range 20 {
		got, err := wire.Probe(t.Context(), b.Session, wire.ProbeRequest{Nonce: "n1"})
		if err != nil || len(got) != 1 || got[0].Name != "n1" || !got[0].OK {
			t.Fatalf("%+v, %v", got, err)
		}
		if !strings.Contains(got[0].Attack, "NoNewPrivs:\t1") || !strings.Contains(got[0].Attack, "CapEff:\t0000000000000000") {
			t.Fatalf("the probe was not confined:\n%s", got[0].Attack)
		}
	}
	// cork's own threads are not.
	if got := b.sh(t, "cat /proc/1/status"); strings.Contains(got.out, "CapEff:\t0000000000000000") || !strings.Contains(got.out, "NoNewPrivs:\t0") {
		t.Errorf("the first thread was confined:\n%s", got.out)
	}
}
