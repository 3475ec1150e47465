package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// run starts a session of p and ends it with the test.
func run(t *testing.T, cfg Config, p Process) (*Session, func() wire.Exit) {
	t.Helper()
	s := New(cfg)
	type result struct {
		exit wire.Exit
		err  error
	}
	done := make(chan result, 1)
	go func() {
		exit, err := s.Run(context.WithoutCancel(t.Context()), p)
		done <- result{exit, err}
	}()
	ended := false
	wait := func() wire.Exit {
		t.Helper()
		select {
		case r := <-done:
			ended = true
			if r.err != nil {
				t.Errorf("session: %v", r.err)
			}
			return r.exit
		case <-time.After(3 * time.Minute):
			t.Fatal("the session does not end")
			return wire.Exit{}
		}
	}
	t.Cleanup(func() {
		if !ended {
			_ = p.Signal("SIGKILL")
			wait()
		}
	})
	return s, wait
}

// glass is an attached terminal: an emulator that shows what a client gets.
type glass struct {
	*Client
	emu *vt.Emulator
	got int
	// asked counts the questions where the cursor is.
	asked int
	exit  *wire.Exit
}

func attach(t *testing.T, s *Session, rows, cols int) *glass {
	t.Helper()
	c, err := s.Attach(View{Rows: uint16(rows), Cols: uint16(cols)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	g := &glass{Client: c, emu: vt.NewEmulator(cols, rows)}
	_ = g.emu.InputPipe().(io.Closer).Close()
	return g
}

// until shows output until ok, and fails the test when that takes too long.
func (g *glass) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		if err := g.take(ctx); err != nil {
			t.Fatalf("waiting for %s: %v; the screen:\n%s", what, err, g.emu.String())
		}
	}
}

// patience bounds what is waited for, on a machine that has other things to do.
const patience = 60 * time.Second

// take shows one more piece of output.
func (g *glass) take(ctx context.Context) error {
	o, err := g.Next(ctx)
	if err != nil {
		return err
	}
	if o.Exit != nil {
		g.exit = o.Exit
	}
	g.got += len(o.Data)
	g.asked += bytes.Count(o.Data, []byte("\x1b[6n"))
	_, _ = g.emu.Write(o.Data)
	return nil
}

func (g *glass) untilText(t *testing.T, text string) {
	t.Helper()
	g.until(t, fmt.Sprintf("%q", text), func() bool { return strings.Contains(g.emu.String(), text) })
}

func (g *glass) typeIn(t *testing.T, text string) {
	t.Helper()
	if _, err := g.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestAgentEndsTheSession(t *testing.T) {
	t.Parallel()
	s, wait := run(t, Config{TTY: true}, ptyProcess(t, 24, 80, "bash", "-c", "echo hello; exit 7"))
	g := attach(t, s, 24, 80)
	g.until(t, "the exit", func() bool { return g.exit != nil })
	if got := wait(); got.Code != 7 || g.exit.Code != 7 {
		t.Errorf("exit %+v, the client saw %+v, want 7", got, g.exit)
	}
	if !strings.Contains(g.emu.String(), "hello") {
		t.Errorf("the screen has no hello: %q", g.emu.String())
	}
	if _, err := g.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the exit Next says %v", err)
	}
	late := attach(t, s, 24, 80)
	late.until(t, "the exit", func() bool { return late.exit != nil })
	if !strings.Contains(late.emu.String(), "hello") {
		t.Error("who attaches after the end does not see the last screen")
	}
}

func TestReattachRepaintsExactly(t *testing.T) {
	t.Parallel()
	s, _ := run(t, Config{TTY: true}, ptyProcess(t, 24, 80, "bash", "--norc", "--noediting"))
	first := attach(t, s, 24, 80)
	// Without a prompt nothing more comes after the last word waited for.
	first.typeIn(t, "PS1=; printf '\\e[1;31mred\\e[0m plain \\e[4:3mcurly\\e[0m 漢字 👩‍👩‍👧\\n'; seq 1 40; printf '\\e[?2004h\\e[?1004h\\e[5 q\\e]0;a title\\a\\e[3;20r\\e[10;5Hhere'; echo do''ne\n")
	first.untilText(t, "done")
	again := attach(t, s, 24, 80)
	again.untilText(t, "done")
	same(t, first, again)

	first.typeIn(t, "seq 100 150 > f; less f\n")
	first.until(t, "less on the alternate screen", func() bool { return first.emu.IsAltScreen() && strings.Contains(first.emu.String(), "122") })
	inLess := attach(t, s, 24, 80)
	inLess.untilText(t, "122")
	same(t, first, inLess)
	first.typeIn(t, "q")
	first.typeIn(t, "echo ba''ck\n")
	first.untilText(t, "back")
	inLess.untilText(t, "back")
	same(t, first, inLess)
}

// same compares two terminals, once they have shown all that there is: cells, cursor, screen in use. The
// kernel hands what a program wrote at once over in pieces, so that what follows the last word a test has
// waited for, such as the end of its line, may be on the way to one of them still.
func same(t *testing.T, want, got *glass) {
	t.Helper()
	look := func(e *vt.Emulator) string {
		return fmt.Sprintf("%q, the cursor at %v, alternate screen %t", e.Render(), e.CursorPosition(), e.IsAltScreen())
	}
	for end := time.Now().Add(patience / 4); look(want.emu) != look(got.emu); {
		for _, g := range []*glass{want, got} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			err := g.take(ctx)
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		if time.Now().After(end) {
			t.Errorf("the screens differ; want:\n%s\ngot:\n%s", look(want.emu), look(got.emu))
			return
		}
	}
}

func TestTwoTerminalsShareTheSmallerSize(t *testing.T) {
	t.Parallel()
	s, _ := run(t, Config{TTY: true, Rows: 30, Cols: 100}, ptyProcess(t, 30, 100, "bash", "--norc", "--noediting"))
	large := attach(t, s, 30, 100)
	large.typeIn(t, "stty size\n")
	large.untilText(t, "30 100")
	small := attach(t, s, 20, 60)
	small.typeIn(t, "stty size\n")
	small.untilText(t, "20 60")
	// Lines longer than the small one must look the same on both.
	small.typeIn(t, "clear; printf 'x%.0s' {1..150}; echo en''d\n")
	small.untilText(t, "end")
	large.untilText(t, "end")
	if a, b := lineOf(small.emu, "end"), lineOf(large.emu, "end"); a != b || a == "" {
		t.Errorf("the small terminal shows %q, the large %q", a, b)
	}
	small.Close()
	large.typeIn(t, "clear; stty size\n")
	large.untilText(t, "30 100")
	large.Resize(25, 90)
	large.typeIn(t, "clear; stty size\n")
	large.untilText(t, "25 90")
}

func lineOf(e *vt.Emulator, text string) string {
	for line := range strings.Lines(e.String()) {
		if strings.Contains(line, text) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func TestQuestionsAreAnsweredOnce(t *testing.T) {
	t.Parallel()
	// It asks where the cursor is and says what it was told, within so many seconds.
	ask := func(seconds int) string {
		return fmt.Sprintf(`stty raw -echo; printf '\e[3;4H\e[6n'; IFS= read -rs -t %d -d R a; IFS= read -rs -t 0.2 -n1 b; printf '\r\nanswer:%%s extra:%%s.' "${a#??}" "$b"; read -n1`, seconds)
	}
	t.Run("by the screen when nobody is attached", func(t *testing.T) {
		t.Parallel()
		s, _ := run(t, Config{TTY: true}, ptyProcess(t, 24, 80, "bash", "-c", ask(60)))
		deadline := time.After(patience)
		for {
			s.mu.Lock()
			text := s.screen.main.emu.String()
			s.mu.Unlock()
			if strings.Contains(text, "answer:3;4 extra:.") {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("got %q", text)
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	t.Run("by one terminal when two are attached", func(t *testing.T) {
		t.Parallel()
		s, _ := run(t, Config{TTY: true}, ptyProcess(t, 24, 80, "bash", "-c", "printf up; read -n1;"+ask(1)))
		one, two := attach(t, s, 24, 80), attach(t, s, 24, 80)
		one.untilText(t, "up")
		two.untilText(t, "up")
		one.typeIn(t, "x")
		// Neither types an answer, so none is had; and only one was asked.
		one.untilText(t, "answer: extra:.")
		two.untilText(t, "answer: extra:.")
		if one.asked != 1 || two.asked != 0 {
			t.Errorf("the first was asked %d times, the second %d", one.asked, two.asked)
		}
	})
}

func TestSlowTerminalIsRepaintedAndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s, wait := run(t, Config{TTY: true}, ptyProcess(t, 24, 80, "bash", "-c", "yes 0123456789 | head -c 1000000; echo; echo the end; read -n1"))
	slow := attach(t, s, 24, 80)
	quick := attach(t, s, 24, 80)
	quick.untilText(t, "the end")
	slow.s.mu.Lock()
	if slow.queued > maxQueue {
		t.Errorf("%d bytes wait for the slow terminal", slow.queued)
	}
	slow.s.mu.Unlock()
	slow.untilText(t, "the end")
	if slow.got > 2*maxQueue {
		t.Errorf("the slow terminal got %d bytes", slow.got)
	}
	same(t, quick, slow)
	quick.typeIn(t, "x")
	wait()
}

func TestFloodCostsNoMemory(t *testing.T) {
	size := 16 << 20
	if raceEnabled || testing.Short() {
		size = 2 << 20
	}
	s, wait := run(t, Config{TTY: true}, ptyProcess(t, 24, 80, "bash", "-c", fmt.Sprintf("yes | head -c %d; echo the end", size)))
	wait()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 40<<20 {
		t.Errorf("%d MB in use after the flood", m.HeapAlloc>>20)
	}
	g := attach(t, s, 24, 80)
	g.untilText(t, "the end")
}

func TestDetachedTerminalIsToldSo(t *testing.T) {
	t.Parallel()
	s, _ := run(t, Config{TTY: true}, ptyProcess(t, 24, 80, "cat"))
	g := attach(t, s, 24, 80)
	g.Close()
	if _, err := g.Next(t.Context()); !errors.Is(err, ErrDetached) {
		t.Errorf("Next says %v", err)
	}
	if _, err := g.Write([]byte("x")); !errors.Is(err, ErrDetached) && err != nil {
		t.Errorf("Write says %v", err)
	}
	if n := s.Attached(); n != 0 {
		t.Errorf("%d are attached", n)
	}
}

func TestEndOfContextEndsClients(t *testing.T) {
	t.Parallel()
	s := New(Config{TTY: true})
	p := ptyProcess(t, 24, 80, "cat")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { _, err := s.Run(ctx, p); done <- err }()
	g := attach(t, s, 24, 80)
	cancel(io.ErrNoProgress)
	var err error
	for err == nil {
		_, err = g.Next(t.Context())
	}
	if !strings.Contains(err.Error(), io.ErrNoProgress.Error()) {
		t.Errorf("Next says %v", err)
	}
	_ = p.Signal("SIGKILL")
	if err := <-done; err == nil {
		t.Error("Run says nothing of its context")
	}
}
