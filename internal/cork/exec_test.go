//go:build linux

package cork_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

func TestCommandsEndAsAShellWouldSay(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	dir := agentDir(t)
	for name, text := range map[string]string{"no-line": "echo hello", "no-shell": "#!/no/such/shell\n"} {
		writeProgram(t, filepath.Join(dir, name), []byte(text))
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		argv []string
		exit wire.Exit // Error holds a part of the expected one
	}{
		{"well", []string{"true"}, wire.Exit{}},
		{"badly", []string{"sh", "-c", "exit 7"}, wire.Exit{Code: 7}},
		{"by a signal", []string{"sh", "-c", "kill -TERM $$"}, wire.Exit{Code: 143, Signal: "SIGTERM"}},
		{"not in PATH", []string{"no-such-program"}, wire.Exit{Code: 127, Error: "not found in the bottle's PATH"}},
		{"no such file", []string{"/no/such/file"}, wire.Exit{Code: 127, Error: "no such file"}},
		{"not executable", []string{dir + "/plain"}, wire.Exit{Code: 126, Error: "not executable"}},
		{"no #! line", []string{"./no-line"}, wire.Exit{Code: 126, Error: "no #! line"}},
		{"no interpreter", []string{dir + "/no-shell"}, wire.Exit{Code: 126, Error: "interpreter"}},
		{"a folder", []string{dir}, wire.Exit{Code: 126, Error: "is a folder"}},
		{"a NUL", []string{"true", "a\x00b"}, wire.Exit{Code: 126, Error: "NUL"}},
		{"an empty name", []string{""}, wire.Exit{Code: 126, Error: "no program"}},
		{"too long", []string{"true", strings.Repeat("x", 200<<10)}, wire.Exit{Code: 126, Error: "too long"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := b.run(t, "", wire.Command{Argv: c.argv, Dir: dir})
			if got.Code != c.exit.Code || got.Signal != c.exit.Signal || !strings.Contains(got.Error, c.exit.Error) ||
				(got.Error == "") != (c.exit.Error == "") {
				t.Errorf("ended with %+v, expected %+v", got.Exit, c.exit)
			}
		})
	}
	t.Run("folder missing", func(t *testing.T) {
		t.Parallel()
		if got := b.run(t, "", wire.Command{Argv: []string{"true"}, Dir: dir + "/none"}); got.Code != 126 {
			t.Errorf("%+v", got.Exit)
		}
	})
}

// agentDir is a folder the agent may write to.
func agentDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cork")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if agentUID() != 0 {
		if err := os.Chown(dir, agentUID(), agentUID()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCommandGetsItsEnvironmentFolderAndOutputs(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	got := b.run(t, "", wire.Command{
		Argv: []string{"sh", "-c", "pwd; env | grep -v -e ^_= -e ^PWD= -e ^SHLVL= -e ^OLDPWD=; echo oops >&2; id -u; umask; ls /proc/self/fd | wc -l"},
		Env:  []string{"PATH=/usr/bin:/bin", "A=1 2"}, Dir: "/usr",
	})
	want := fmt.Sprintf("/usr\nA=1 2\nPATH=/usr/bin:/bin\n%d\n0022\n4\n", agentUID())
	if sorted := strings.Replace(got.out, "PATH=/usr/bin:/bin\nA=1 2", "A=1 2\nPATH=/usr/bin:/bin", 1); sorted != want {
		t.Errorf("printed %q, expected %q", got.out, want)
	}
	if got.err != "oops\n" {
		t.Errorf("stderr %q", got.err)
	}
}

func TestLimitOfOpenFilesIsTheOneCorkWasStartedWith(t *testing.T) {
	t.Parallel()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	// os/exec gives cork the soft limit this process was started with, not what Go raised it to.
	want := strings.TrimSpace(hostSh(t, "ulimit -Sn"))
	if got := uncork(t).sh(t, "ulimit -Sn"); strings.TrimSpace(got.out) != want {
		t.Errorf("the soft limit inside is %s, outside %s", got.out, want)
	}
}

func TestInputReachesItsEnd(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	in := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB: many times what is granted
	got := b.run(t, in, wire.Command{Argv: []string{"cat"}})
	if sha256.Sum256([]byte(got.out)) != sha256.Sum256([]byte(in)) || got.Code != 0 {
		t.Errorf("%d of %d bytes came back, %+v", len(got.out), len(in), got.Exit)
	}
	// A command that closes its input early must not hold anybody up.
	if got := b.run(t, in, wire.Command{Argv: []string{"sh", "-c", "exec <&-; echo done"}}); got.out != "done\n" {
		t.Errorf("%+v", got)
	}
}

func TestBigOutputArrivesWhole(t *testing.T) {
	t.Parallel()
	got := uncork(t).sh(t, "head -c 50000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3")
	if len(got.out) != 50000000 || len(got.err) != 3000000 || got.Code != 3 {
		t.Errorf("%d and %d bytes, %+v", len(got.out), len(got.err), got.Exit)
	}
}

func TestStandardFilesCanBeOpenedAgain(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	if got := b.sh(t, "echo hi >/proc/self/fd/1; echo ho >/dev/stderr"); got.out != "hi\n" || got.err != "ho\n" {
		t.Errorf("%+v", got)
	}
}

func TestSignalsReachTheGroupPastUnreadInput(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	p := b.start(t, wire.Command{Argv: []string{"sh", "-c", "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 1 & wait; done"}})
	expect(t, p.Stdout, "ready\n")
	go func() { _, _ = p.Stdin.Write(make([]byte, 10<<20)) }() // nobody reads it
	if err := p.Signal("SIGUSR1"); err != nil {
		t.Fatal(err)
	}
	expect(t, p.Stdout, "got it\n")
	if exit, err := p.Wait(); exit.Code != 5 || err != nil {
		t.Fatalf("%+v, %v", exit, err)
	}
	if n, err := p.Stdin.Write([]byte("x")); err == nil {
		t.Errorf("wrote %d bytes to an ended command", n)
	}
}

func expect(t testing.TB, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("read %q, expected %q: %v", b, want, err)
	}
}

func TestCancelKillsTheGroup(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	p, err := wire.Exec(ctx, b.Session, wire.Command{Argv: []string{"/bin/sh", "-c", "sleep 1000 & echo up; wait"}, Dir: "/", Env: []string{"PATH=/bin:/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, p.Stdout, "up\n")
	stop := errors.New("enough")
	cancel(stop)
	if _, err := p.Wait(); !errors.Is(err, stop) {
		t.Errorf("wait: %v", err)
	}
	if _, err := io.ReadAll(p.Stdout); !errors.Is(err, stop) {
		t.Errorf("output: %v", err)
	}
	eventually(t, "the sleep dies", func() bool {
		return !strings.Contains(b.sh(t, "cat /proc/[0-9]*/cmdline").out, "sleep\x001000")
	})
}

// eventually polls what no event tells us of: the state of processes that aren't ours.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("in thirty seconds it did not come true that %s", what)
}

func TestBackgroundProgramsDontKeepACommandFromEnding(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	for _, tty := range []bool{false, true} {
		begun := time.Now()
		got := b.run(t, "", wire.Command{
			Argv: []string{"sh", "-c", "trap '' HUP; (sleep 1000 & yes >/dev/null & ) ; head -c 60000 /dev/zero | tr '\\0' x; echo end; exit 4"}, TTY: tty,
		})
		if d := time.Since(begun); d > 2*time.Minute || got.Code != 4 {
			t.Errorf("tty %v: ended with %+v after %v", tty, got.Exit, d)
		}
		if out := strings.TrimSpace(got.out); len(out) != 60003 || !strings.HasSuffix(out, "end") {
			t.Errorf("tty %v: %d bytes came", tty, len(out))
		}
	}
	// Nor does a reader slower than that patience lose what the command left behind.
	p := b.start(t, wire.Command{Argv: []string{"sh", "-c", "sleep 1000 & head -c 4000000 /dev/zero; exit 5"}})
	n := 0
	for chunk := make([]byte, 400<<10); ; time.Sleep(120 * time.Millisecond) {
		m, err := io.ReadFull(p.Stdout, chunk)
		if n += m; err != nil {
			break
		}
	}
	if exit, err := p.Wait(); n != 4000000 || exit.Code != 5 || err != nil {
		t.Errorf("a slow reader got %d bytes, %+v, %v", n, exit, err)
	}
	// A background program that never stops talking holds it up no more than a silent one.
	if got := b.sh(t, "yes & exit 6"); got.Code != 6 {
		t.Errorf("%+v", got.Exit)
	}
}

func TestThirtyCommandsAtOnce(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			in := strings.Repeat(fmt.Sprint(i), 100<<10)
			got := b.run(t, in, wire.Command{Argv: []string{"sh", "-c", fmt.Sprintf("cat; exit %d", i)}, TTY: false})
			if got.out != in || got.Code != i {
				t.Errorf("command %d: %d bytes, %+v", i, len(got.out), got.Exit)
			}
		})
	}
	wg.Wait()
}

func TestCommandsBeyondTheBoundAreRefusedWithWords(t *testing.T) {
	t.Parallel()
	b := uncork(t, "two-commands")
	for range 2 {
		p := b.start(t, wire.Command{Argv: []string{"sh", "-c", "echo up; cat"}})
		expect(t, p.Stdout, "up\n")
	}
	_, err := b.start(t, wire.Command{Argv: []string{"true"}}).Wait()
	var re *wire.ResetError
	if !errors.As(err, &re) || !strings.Contains(re.Reason, "too many commands") {
		t.Errorf("%v", err)
	}
}

func TestUnknownRequestsAreRefused(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	st, err := b.Open(t.Context(), "magic", nil)
	if err != nil {
		t.Fatal(err)
	}
	var re *wire.ResetError
	if _, err := st.Read(make([]byte, 1)); !errors.As(err, &re) {
		t.Error(err)
	}
	// A command's stream that speaks out of turn is ended, and its command with it.
	st, err = b.Open(t.Context(), wire.KindExec, wire.Command{Argv: []string{"/bin/cat"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	_ = wire.NewFrameWriter(st).Exit(wire.Exit{})
	if _, err := io.Copy(io.Discard, st); !errors.As(err, &re) {
		t.Error(err)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	p := b.start(t, wire.Command{
		Argv: []string{"sh", "-c", "stty size; tty; read x; stty size; ps -o tty= -p $$ >/dev/null; echo $x >/dev/tty; stat -c %u $(tty); exit 2"},
		TTY:  true, Rows: 33, Cols: 101,
	})
	out := &bytes.Buffer{}
	until(t, p.Stdout, out, "/dev/pts/")
	tail := &bytes.Buffer{} // or what is typed could be shown before the name's end
	until(t, p.Stdout, tail, "\n")
	out.Write(tail.Bytes())
	if err := p.Resize(44, 122); err != nil {
		t.Fatal(err)
	}
	_, _ = p.Stdin.Write([]byte("word\n"))
	rest, err := io.ReadAll(p.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(rest)
	text := strings.ReplaceAll(out.String(), "\r", "")
	for _, want := range []string{"33 101\n", "44 122\n", "word\nword\n", fmt.Sprintf("\n%d\n", agentUID())} {
		if !strings.Contains(strings.Replace(text, "44 122\n", "", 1)+"44 122\n", want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	if exit, err := p.Wait(); exit.Code != 2 || err != nil {
		t.Errorf("%+v, %v", exit, err)
	}
	if e, err := io.ReadAll(p.Stderr); len(e) != 0 || err != nil {
		t.Errorf("stderr of a terminal: %q, %v", e, err)
	}
}

func until(t testing.TB, r io.Reader, got *bytes.Buffer, want string) {
	t.Helper()
	b := make([]byte, 1)
	for !strings.Contains(got.String(), want) {
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got.Write(b)
	}
}

func TestTerminalInterruptAndEndOfInput(t *testing.T) {
	t.Parallel()
	b := uncork(t)
	p := b.start(t, wire.Command{Argv: []string{"sh", "-c", "echo up; exec sleep 1000"}, TTY: true})
	expect(t, p.Stdout, "up")
	_, _ = p.Stdin.Write([]byte{3})
	if exit, err := p.Wait(); exit.Signal != "SIGINT" || exit.Code != 130 || err != nil {
		t.Errorf("%+v, %v", exit, err)
	}
	if got := b.run(t, "line\n", wire.Command{Argv: []string{"cat"}, TTY: true}); got.Code != 0 || !strings.Contains(got.out, "line\r\nline\r\n") {
		t.Errorf("%+v", got)
	}
}
