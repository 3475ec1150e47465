//go:build linux

package smolvmtest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest"
)

func TestExec(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.env = []string{"HOST_SECRET=from the environment"}
	r.machine("a", "-e", "MACHINE=2", "-e", "BOTH=machine", "--", "/bin/true")
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		want  result
	}{
		{"plain", []string{"--", "sh", "-c", "echo out; echo err >&2; exit 7"}, "", result{7, "out\n", "err\n"}},
		{"plain reads nothing", []string{"cat"}, "input", result{0, "", ""}},
		{"stream reads nothing", []string{"--stream", "cat"}, "input", result{0, "", ""}},
		{"stream", []string{"--stream", "sh", "-c", "echo out; echo err >&2; exit 7"}, "", result{7, "out\n", "err\n"}},
		{"pipe", []string{"-i", "--", "sh", "-c", "cat; echo err >&2; exit 7"}, "input", result{7, "input", "err\n"}},
		{"signal", []string{"-i", "sh", "-c", "kill -9 $$"}, "", result{137, "", ""}},
		{"signal, plain", []string{"sh", "-c", "kill -15 $$"}, "", result{143, "", ""}},
		{"no program", []string{"-i", "none"}, "", result{127, "", "crun: executable file `none` not found in $PATH: No such file or directory\n"}},
		{"no program by path", []string{"/none"}, "", result{127, "", "crun: executable file `/none` not found in $PATH: No such file or directory\n"}},
		{"no folder", []string{"-w", "/none", "true"}, "", result{127, "", "crun: chdir to `/none`: No such file or directory\n"}},
		{"folder", []string{"-w", "/var", "-i", "sh", "-c", "pwd"}, "", result{0, "/var\n", ""}},
		{"environment", []string{"-e", "SAID=3", "-e", "BOTH=said", "sh", "-c", "echo $IMAGE $MACHINE $SAID $BOTH"}, "", result{0, "1 2 3 said\n", ""}},
		{"environment, machine over image", []string{"sh", "-c", "echo $BOTH"}, "", result{0, "machine\n", ""}},
		{"nothing of the host's", []string{"sh", "-c", "echo $PATH$HOST_SECRET$SMOLVM_DATA_DIR"}, "", result{0, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n", ""}},
		{"secrets", []string{"--secret-env", "A=HOST_SECRET", "--secret-file", "B=" + secret, "sh", "-c", "echo $A, $B"}, "", result{0, "from the environment, from a file\n", ""}},
		{"said over secret", []string{"--secret-env", "A=HOST_SECRET", "-e", "A=said", "sh", "-c", "echo $A"}, "", result{0, "said\n", ""}},
		{"secret that is not set", []string{"--secret-env", "A=NONE", "true"}, "", result{1, "", "Error: config operation failed: resolve secret 'A': env_unset\n"}},
		{"secret twice", []string{"--secret-env", "A=HOST_SECRET", "--secret-env", "A=HOST_SECRET", "true"}, "", result{1, "", "Error: config operation failed: --secret-env: secret 'A' specified more than once\n"}},
		{"secret file that is not there", []string{"--secret-file", "A=/none", "true"}, "", result{1, "", "Error: config operation failed: resolve secret 'A': file_read_failed\n"}},
		{"timeout", []string{"--timeout", "3s", "sh", "-c", "echo out; sleep 100"}, "", result{124, "out\n", "\ncommand timed out after 3000ms"}},
		{"timeout, pipe", []string{"-i", "--timeout", "100ms", "sleep", "100"}, "", result{124, "", ""}},
		{"child keeps the pipe", []string{"-i", "sh", "-c", "sleep 1000 & echo out"}, "", result{0, "out\n", ""}},
		{"terminal without one", []string{"-t", "sh", "-c", "tty; echo $TERM; echo err >&2; exit 5"}, "", result{5, "/dev/pts/0\r\nxterm-256color\r\nerr\r\n", ""}},
	} {
		if got := r.runWith(c.stdin, append([]string{"machine", "exec", "--name", "a"}, c.args...)...); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
	// A detached one goes on.
	pid := strings.TrimSpace(r.must("machine", "exec", "--name", "a", "-d", "sleep", "1000"))
	if out := r.exec("a", "cat /proc/"+pid+"/cmdline"); out != "sleep\x001000\x00" {
		t.Errorf("process %s is %q", pid, out)
	}
	// Bytes are left as they are, and there may be any number with -i.
	data := make([]byte, 12<<20)
	if _, err := rand.NewChaCha8([32]byte{}).Read(data); err != nil {
		t.Fatal(err)
	}
	if got := r.runWith(string(data), "machine", "exec", "--name", "a", "-i", "cat"); got.code != 0 || got.out != string(data) {
		t.Errorf("exit %d, %d bytes of %d came back", got.code, len(got.out), len(data))
	}
}

// All but -i have an end.
func TestExecCaps(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	const most = 11 << 20
	r := install(t)
	r.machine("a")
	run := func(args ...string) result {
		return r.run(append([]string{"machine", "exec", "--name", "a"}, args...)...)
	}
	if got := run("guest", "spew", fmt.Sprint(most*2)); got.code != 141 || len(got.out) != most {
		t.Errorf("plain: exit %d, %d bytes", got.code, len(got.out))
	}
	if got := run("sh", "-c", "guest spew 11000000 & guest spew 11000000 >&2; wait"); got.code != 1 || got.out != "" || !strings.Contains(got.errors, "Error: agent operation failed: run command: command output too large") {
		t.Errorf("plain, both: exit %d, %d bytes, %.200q", got.code, len(got.out), got.errors)
	}
	if got := run("--stream", "guest", "spew", fmt.Sprint(most*2)); got.code != 1 || len(got.out) <= most || len(got.out) > most+1<<20 || !strings.Contains(got.errors, "truncated") {
		t.Errorf("stream: exit %d, %d bytes, %q", got.code, len(got.out), got.errors)
	}
	if got := run("-i", "guest", "spew", fmt.Sprint(most*2)); got.code != 0 || len(got.out) != most*2 {
		t.Errorf("pipe: exit %d, %d bytes", got.code, len(got.out))
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	r.machine("a")
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	cmd := r.command("machine", "exec", "--name", "a", "-it", "--", "guest", "size")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	lines := bufio.NewScanner(master)
	// The size arrives after the program has started, so the first line may be the one before.
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.TrimSpace(lines.Text()) == want {
				return
			}
		}
		t.Fatalf("no %s", want)
	}
	until("33x77")
	if err := pty.Setsize(master, &pty.Winsize{Rows: 44, Cols: 88}); err != nil {
		t.Fatal(err)
	}
	until("44x88")
	// Ctrl-C is a byte for the terminal in the machine, whose program it interrupts.
	if _, err := master.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("ended with %v", err)
	}
	// The end of input is a character there.
	if got := r.runWith("line\nrest", "machine", "exec", "--name", "a", "-t", "cat"); got.code != 0 || !strings.HasSuffix(got.out, "rest") {
		t.Errorf("got %+v", got)
	}
}

// When the client dies, its command is killed, what that has started lives, and input ends.
func TestKilledClient(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	r.machine("a")
	for _, mode := range []string{"-i", "-it", "--stream"} {
		cmd := r.command("machine", "exec", "--name", "a", mode, "--", "sh", "-c",
			"(cat; echo end > /run/end) <&0 & sleep 5555 & echo $$ > /run/pid; echo started; sleep 6666; exit")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "started" {
			t.Fatalf("%s: %q (%v)", mode, line, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		_ = in.Close()
		eventually(t, mode+": the command lives", func() bool {
			return r.exec("a", "kill -0 $(cat /run/pid) 2>/dev/null && echo lives; true") == ""
		})
		if mode == "-i" {
			eventually(t, "input has not ended", func() bool { return r.exec("a", "cat /run/end 2>/dev/null; true") == "end\n" })
		}
	}
	if out := r.exec("a", "cat /proc/[0-9]*/cmdline"); strings.Count(out, "5555") < 2 {
		t.Errorf("children of killed commands are gone: %q", out)
	}
}

func TestExecLost(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	r.machine("a")
	r.Fault(smolvmtest.Faults{ExecLost: 5})
	a := r.run("machine", "exec", "--name", "a", "-i", "--", "sh", "-c", "echo $$ > /run/pid; echo 1234567890; sleep 1000")
	if want := (result{1, "12345", "Error: agent operation failed: run interactive: connection to VM lost\n"}); a != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
	r.Fault(smolvmtest.Faults{})
	eventually(t, "the command lives", func() bool {
		return r.exec("a", "kill -0 $(cat /run/pid) 2>/dev/null && echo lives; true") == ""
	})
}

// A stop in the middle of an exec loses its connection too.
func TestStopDuringExec(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	r.machine("a")
	cmd := r.command("machine", "exec", "--name", "a", "-i", "--", "sh", "-c", "echo started; sleep 1000")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	r.must("machine", "stop", "--name", "a")
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "connection to VM lost") || time.Since(begin) > 30*time.Second {
		t.Errorf("exit %d, %q, after %v", cmd.ProcessState.ExitCode(), errs.String(), time.Since(begin))
	}
}
