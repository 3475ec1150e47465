package cli_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// program gives the path of our program and an environment with a home of its own, in which the
// agent "sh" is an interactive shell.
func program(t *testing.T) (path string, env []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test's binary is the program when it has its name; see TestMain.
	path = filepath.Join(t.TempDir(), "claude-bottle")
	b, err := os.ReadFile(self)
	if err == nil {
		// What another test forks meanwhile would have the file open for writing until it is another
		// program, and nobody could run it (golang/go#22315).
		syscall.ForkLock.RLock()
		err = os.WriteFile(path, b, 0o755)
		syscall.ForkLock.RUnlock()
	}
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for name, text := range map[string]string{
		"agents/sh.md":  "---\nbottle: sh\n---\n",
		"bottles/sh.md": "---\nagent_provider: {template: shell, command: [bash, --norc]}\n---\n",
	} {
		name = filepath.Join(home, ".claude-bottle", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return path, []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TERM=xterm-256color", "CLAUDE_BOTTLE_KEYRING=off", "GORACE=atexit_sleep_ms=0"}
}

// person sits at a terminal that runs our program.
type person struct {
	t      *testing.T
	cmd    *exec.Cmd
	tty    *os.File
	screen chan []byte
	seen   bytes.Buffer
}

func sit(t *testing.T, path string, env []string, args ...string) *person {
	t.Helper()
	p := &person{t: t, cmd: exec.Command(path, args...), screen: make(chan []byte, 1024)}
	p.cmd.Env = env
	p.cmd.Dir = "/"
	var err error
	if p.tty, err = pty.StartWithSize(p.cmd, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the terminal, which end closes
		defer close(p.screen)
		for {
			b := make([]byte, 4096)
			n, err := p.tty.Read(b)
			p.screen <- b[:n]
			if err != nil {
				return
			}
		}
	}()
	return p
}

// sees waits until the screen showed text, and forgets what it showed up to there.
func (p *person) sees(text string) {
	p.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if _, after, ok := bytes.Cut(p.seen.Bytes(), []byte(text)); ok {
			p.seen = *bytes.NewBuffer(bytes.Clone(after))
			return
		}
		select {
		case b, ok := <-p.screen:
			if !ok {
				p.t.Fatalf("the program ended before it showed %q; it showed %q", text, p.seen.String())
			}
			p.seen.Write(b)
		case <-deadline:
			p.t.Fatalf("%q was not shown; this was: %q", text, p.seen.String())
		}
	}
}

func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.tty, keys); err != nil {
		p.t.Fatal(err)
	}
}

// leaves waits for the program's end and returns its exit code.
func (p *person) leaves() int {
	p.t.Helper()
	for range p.screen { // to its end: a full screen would hold the program up
	}
	err := p.cmd.Wait()
	p.tty.Close()
	if status, ok := errors.AsType[*exec.ExitError](err); ok {
		return status.ExitCode()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return 0
}

// A whole working day: start, answer the question, type, leave, look, come back, end.
func TestStartDetachAttachExit(t *testing.T) {
	t.Parallel()
	path, env := program(t)

	p := sit(t, path, env, "start", "sh")
	p.sees("nothing may leave this bottle")
	p.sees("[y/N]")
	p.types("y\r")
	p.sees("attached to sh-")
	p.types("echo hel''lo-$((40+2))\r")
	p.sees("hello-42")
	p.types("\x1dd")
	p.sees("running; back to it: claude-bottle attach sh-")
	if code := p.leaves(); code != 0 {
		t.Errorf("leaving exits with %d", code)
	}

	list := exec.Command(path, "list")
	list.Env = env
	out, err := list.CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^sh-\w{5} +running +sh +native`).Match(out) {
		t.Fatalf("list: %v\n%s", err, out)
	}

	p = sit(t, path, env, "attach", "sh")
	p.sees("hello-42") // the screen is as it was
	p.types("exit 5\r")
	if code := p.leaves(); code != 5 {
		t.Errorf("the agent's exit code 5 became %d", code)
	}

	list = exec.Command(path, "list")
	list.Env = env
	if out, err := list.CombinedOutput(); err != nil || strings.Contains(string(out), "running ") {
		t.Errorf("list: %v\n%s", err, out)
	}
}

// The first Ctrl-C is the agent's, which may ignore it; the second stops the bottle.
func TestSecondInterruptStopsARun(t *testing.T) {
	t.Parallel()
	path, env := program(t)
	p := sit(t, path, env, "run", "sh", "--", "-c", `trap "" INT TERM; echo rea""dy; while :; do sleep 1; done`)
	p.sees("ready")
	p.types("\x03")
	p.sees("Ctrl-C again stops the bottle")
	p.types("\x03")
	p.sees("stopped by the operator")
	if code := p.leaves(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// Whoever is attached to a bottle that is stopped reads who ended it, also when the agent obeys the
// first signal and its own exit comes through.
func TestAttachedToWhatIsStopped(t *testing.T) {
	t.Parallel()
	path, env := program(t)
	p := sit(t, path, env, "start", "sh", "--yes", "--", "-c", `trap "exit 9" TERM; echo rea""dy; while :; do sleep 0.05; done`)
	p.sees("ready")
	stop := exec.Command(path, "stop", "--all")
	stop.Env = env
	if out, err := stop.CombinedOutput(); err != nil {
		t.Errorf("stop: %v\n%s", err, out)
	}
	p.sees("exited with code 9 and is kept")
	p.sees("ended: stopped by the operator")
	if code := p.leaves(); code != 9 {
		t.Errorf("exit code %d, want the agent's, 9", code)
	}
}
