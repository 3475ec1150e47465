package wire

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// answerExec plays cork: it follows the script of a test instead of running anything.
func answerExec(t *testing.T, script func(Command, *FrameReader, *FrameWriter)) *Session {
	warden, cork := pair(t)
	cork.Handle(KindExec, func(st *Stream) {
		defer st.Close()
		var c Command
		if err := st.Header(&c); err != nil {
			t.Error(err)
		}
		script(c, NewFrameReader(st, MaxFrame), NewFrameWriter(st))
	})
	return warden
}

func TestProcessSpeaksFrames(t *testing.T) {
	t.Parallel()
	s := answerExec(t, func(c Command, r *FrameReader, w *FrameWriter) {
		want := []string{"resize \x00\x18\x00\x50", "signal SIGTERM", "stdin hello", "eof "}
		for _, line := range want {
			f, err := r.Next()
			if got := f.Type.String() + " " + string(f.Payload); err != nil || got != line {
				t.Errorf("cork got %q, %v; expected %q", got, err, line)
			}
		}
		_ = w.Write(FrameStdout, []byte("out "+c.Argv[0]))
		_ = w.Write(FrameStderr, []byte("err"))
		_ = w.Exit(Exit{Code: 137, Signal: "SIGKILL"})
	})
	p, err := Exec(t.Context(), s, Command{Argv: []string{"prog"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Resize(24, 80)
	_ = p.Signal("SIGTERM")
	_, _ = io.WriteString(p.Stdin, "hello")
	_ = p.Stdin.Close()
	exit, err := p.Wait()
	if exit != (Exit{Code: 137, Signal: "SIGKILL"}) || err != nil {
		t.Errorf("%+v, %v", exit, err)
	}
	out, err := io.ReadAll(p.Stdout)
	if string(out) != "out prog" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	errs, err := io.ReadAll(p.Stderr)
	if string(errs) != "err" || err != nil {
		t.Errorf("%q, %v", errs, err)
	}
	if _, err := p.Stdin.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("input after the end: %v", err)
	}
}

func TestHostileCorkEndsItsProcessOnly(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(*FrameWriter){
		"no exit":          func(*FrameWriter) {},
		"warden's frame":   func(w *FrameWriter) { _ = w.Resize(1, 1) },
		"unknown frame":    func(w *FrameWriter) { _ = w.Write(77, nil) },
		"exit is no JSON":  func(w *FrameWriter) { _ = w.Write(FrameExit, []byte("{")) },
		"grant beyond all": func(w *FrameWriter) { _ = w.Credit(1) },
		"grant overflows":  func(w *FrameWriter) { _ = w.Credit(1<<32 - 1) },
		"oversize frame": func(w *FrameWriter) {
			_, _ = w.w.Write([]byte{byte(FrameStdout), 0x7f, 0, 0, 0})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := answerExec(t, func(_ Command, _ *FrameReader, w *FrameWriter) { script(w) })
			p, err := Exec(t.Context(), s, Command{Argv: []string{"prog"}, Dir: "/"})
			if err != nil {
				t.Fatal(err)
			}
			if exit, err := p.Wait(); err == nil {
				t.Errorf("ended well: %+v", exit)
			}
			if _, err := io.ReadAll(p.Stdout); err == nil {
				t.Error("the output ended as if it were whole")
			}
			if s.Err() != nil {
				t.Errorf("the session ended with it: %v", s.Err())
			}
		})
	}
}

func TestUnreadOutputDoesNotOutliveItsContext(t *testing.T) {
	t.Parallel()
	s := answerExec(t, func(_ Command, _ *FrameReader, w *FrameWriter) {
		for w.Write(FrameStderr, []byte(strings.Repeat("x", 1<<20))) == nil {
		}
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	p, err := Exec(ctx, s, Command{Argv: []string{"prog"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.Stderr, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	why := errors.New("enough")
	cancel(why)
	if _, err := p.Wait(); !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestProbeAnswersAreBounded(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	cork.Handle(KindProbe, func(st *Stream) {
		defer st.Close()
		_, _ = st.Write([]byte(strings.Repeat("[", maxProbeAnswer+1)))
	})
	if _, err := Probe(t.Context(), warden, ProbeRequest{}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

func TestGetTellsARefusalAtOnce(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	cork.Handle(KindGet, func(st *Stream) { st.Reset("no such file") })
	cork.Handle(KindPut, func(st *Stream) { st.Reset("no such folder") })
	var re *ResetError
	if _, err := Get(t.Context(), warden, "/x"); !errors.As(err, &re) || re.Reason != "no such file" {
		t.Error(err)
	}
	if err := Put(t.Context(), warden, "/x", strings.NewReader(strings.Repeat("x", 1<<20))); !errors.As(err, &re) || re.Reason != "no such folder" {
		t.Error(err)
	}
}
