package terminal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/claude-bottle/claude-bottle/internal/session"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/terminal"
	"github.com/claude-bottle/claude-bottle/internal/warden"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// serve runs script under bash on a terminal behind a warden, and returns its socket's path.
func serve(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "--norc", "--noediting", "-c", script)
	cmd.Env = []string{"TERM=xterm", "PATH=" + os.Getenv("PATH")}
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "t")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := state.ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	s := session.New(session.Config{TTY: true})
	w := warden.New(warden.Config{})
	w.SetSession(s)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var all sync.WaitGroup
	all.Go(func() { _ = w.Serve(ctx, l) })
	all.Go(func() {
		_, _ = s.Run(ctx, session.Process{
			Stdin: f, Stdout: f,
			Resize: func(rows, cols uint16) error { return pty.Setsize(f, &pty.Winsize{Rows: rows, Cols: cols}) },
			Wait: func() (wire.Exit, error) {
				_ = cmd.Wait() // the code tells
				return wire.Exit{Code: cmd.ProcessState.ExitCode()}, nil
			},
		})
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		cancel()
		all.Wait()
		_ = os.RemoveAll(dir)
	})
	return path
}

// desk is an operator's terminal: what is written to it can be waited for.
type desk struct {
	ptmx, tty *os.File
	mu        sync.Mutex
	seen      strings.Builder
	news      chan struct{}
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(ptmx, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	d := &desk{ptmx: ptmx, tty: tty, news: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := ptmx.Read(buf)
			d.mu.Lock()
			d.seen.Write(buf[:n])
			d.mu.Unlock()
			select {
			case d.news <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = tty.Close(); _ = ptmx.Close(); <-done })
	return d
}

func (d *desk) text() string { d.mu.Lock(); defer d.mu.Unlock(); return d.seen.String() }

func (d *desk) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(d.text(), text) {
		select {
		case <-d.news:
		case <-deadline:
			t.Fatalf("no %q in %q", text, d.text())
		}
	}
}

func (d *desk) modes(t *testing.T) term.State {
	t.Helper()
	m, err := term.GetState(int(d.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

type end struct {
	client.Result
	error
}

func (d *desk) attach(ctx context.Context, t *testing.T, path string) <-chan end {
	t.Helper()
	keys, err := client.ParseKeys(client.DefaultKeys)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan end, 1)
	go func() {
		r, err := terminal.Attach(ctx, client.Dial(path), terminal.Options{In: d.tty, Out: d.tty, Err: d.tty, Detach: keys, Hint: "the hint"})
		done <- end{r, err}
	}()
	return done
}

const fullScreen = `printf '\e[?1049h\e[?2004h\e[?1000h\e[>1uready'; while read -r l; do echo "got:$l"; [ "$l" = size ] && stty size; [ "$l" = quit ] && exit 3; done`

func TestTerminalIsGivenBack(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(d *desk, cancel func()){
		"after a detach":         func(d *desk, _ func()) { fmt.Fprint(d.ptmx, "\x1dd") },
		"after the agent's end":  func(d *desk, _ func()) { fmt.Fprint(d.ptmx, "quit\r") },
		"after the context ends": func(_ *desk, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			before := d.modes(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := d.attach(ctx, t, serve(t, fullScreen))
			d.wait(t, "ready")
			if d.modes(t) == before {
				t.Error("the terminal is not in raw mode")
			}
			leave(d, cancel)
			e := <-done
			if d.modes(t) != before {
				t.Error("the terminal's modes are not restored")
			}
			d.wait(t, "\x1b[23;0t") // the last thing written
			text := d.text()
			if !strings.Contains(text, "the hint") {
				t.Error("no hint")
			}
			for _, undo := range []string{"\x1b[?1049l", "\x1b[?2004l", "\x1b[?1000l", "\x1b[<32u", "\x1b[?25h"} {
				if strings.LastIndex(text, undo) < strings.Index(text, "ready") {
					t.Errorf("%q is missing at the end", undo)
				}
			}
			switch {
			case strings.Contains(name, "detach") && (!e.Detached || e.error != nil),
				strings.Contains(name, "agent") && (e.Exit == nil || e.Exit.Code != 3),
				strings.Contains(name, "context") && !errors.Is(e.error, context.Canceled):
				t.Errorf("ended with %+v", e)
			}
		})
	}
}

// Not parallel: they signal the whole process.
func TestSignals(t *testing.T) {
	d := newDesk(t)
	path := serve(t, fullScreen)
	before := d.modes(t)
	done := d.attach(t.Context(), t, path)
	d.wait(t, "ready")
	if err := pty.Setsize(d.ptmx, &pty.Winsize{Rows: 30, Cols: 90}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	for tries := 0; !strings.Contains(d.text(), "30 90"); tries++ {
		if tries == 200 {
			t.Fatalf("the agent never hears of the new size: %q", d.text())
		}
		fmt.Fprint(d.ptmx, "size\r")
		select {
		case <-d.news:
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	e := <-done
	if s, ok := errors.AsType[terminal.SignalError](e.error); !ok || s.Signal != syscall.SIGTERM {
		t.Errorf("ended with %+v", e)
	}
	if d.modes(t) != before {
		t.Error("the terminal's modes are not restored")
	}
}

func TestPlainFilesAreCopied(t *testing.T) {
	t.Parallel()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r, err := terminal.Attach(t.Context(), client.Dial(serve(t, "echo hello; exit 2")), terminal.Options{Out: out, Err: out})
	if err != nil || r.Exit == nil || r.Exit.Code != 2 {
		t.Errorf("got %+v, %v", r, err)
	}
	if b, err := os.ReadFile(out.Name()); err != nil || !strings.Contains(string(b), "hello") {
		t.Errorf("copied %q, %v", b, err)
	}
}
