package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/session"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// host is a warden with no bottle behind it.
type host struct {
	*warden.Server
	*client.Client
	path  string
	audit string
	stops chan string
	end   func() error
}

func serve(t *testing.T) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "w") // t.TempDir is too long for comfort, and tested elsewhere
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &host{path: filepath.Join(dir, "s"), audit: filepath.Join(dir, "audit.jsonl"), stops: make(chan string, 8)}
	h.Server = warden.New(warden.Config{
		Metadata: func() (state.Metadata, error) {
			agent, err := bottle.ParseName("agent")
			id, err2 := bottle.ParseID("agent-aaaaa")
			return state.Metadata{ID: id, Agent: agent, State: bottle.Running}, errors.Join(err, err2)
		},
		Fill:  func(s *warden.Status) { s.Egress.Denied = 3 },
		Stop:  func(reason string, grace time.Duration) { h.stops <- fmt.Sprint(reason, grace) },
		Audit: h.audit,
	})
	h.Client = client.Dial(h.path)
	l, err := state.ListenSocket(h.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, l) }()
	h.end = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := h.end(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// agent gives h a session of a program of this host.
func (h *host) agent(t *testing.T, tty bool, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"TERM=xterm", "PATH=" + os.Getenv("PATH"), "PS1=$ "}
	var p session.Process
	if tty {
		f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
		if err != nil {
			t.Fatal(err)
		}
		p.Stdin, p.Stdout = struct{ io.WriteCloser }{noClose{f}}, f
		p.Resize = func(rows, cols uint16) error { return pty.Setsize(f, &pty.Winsize{Rows: rows, Cols: cols}) }
	} else {
		outR, outW, err1 := os.Pipe()
		errR, errW, err2 := os.Pipe()
		in, err3 := cmd.StdinPipe()
		cmd.Stdout, cmd.Stderr = outW, errW
		if err := errors.Join(err1, err2, err3, cmd.Start(), outW.Close(), errW.Close()); err != nil {
			t.Fatal(err)
		}
		p.Stdin, p.Stdout, p.Stderr = in, outR, errR
	}
	p.Signal = func(name string) error { return cmd.Process.Signal(os.Interrupt) }
	p.Wait = func() (wire.Exit, error) {
		_ = cmd.Wait() // the code tells
		return wire.Exit{Code: cmd.ProcessState.ExitCode()}, nil
	}
	s := session.New(session.Config{TTY: tty})
	done := make(chan struct{})
	go func() { defer close(done); _, _ = s.Run(context.WithoutCancel(t.Context()), p) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	h.SetSession(s)
}

type noClose struct{ io.Writer }

func (noClose) Close() error { return nil }

// shown is what an attached operator sees, to wait for.
type shown struct {
	mu   sync.Mutex
	b    bytes.Buffer
	news chan struct{}
}

func newShown() *shown { return &shown{news: make(chan struct{}, 1)} }

func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Write(p)
	select {
	case s.news <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *shown) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func (s *shown) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.news:
		case <-deadline:
			t.Fatalf("no %q in %q", text, s.String())
		}
	}
}

func TestStatusAndStop(t *testing.T) {
	t.Parallel()
	h := serve(t)
	st, err := h.Status(t.Context())
	if err != nil || st.Metadata.ID.String() != "agent-aaaaa" || st.Egress.Denied != 3 {
		t.Errorf("status %+v, %v", st, err)
	}
	if err := h.Stop(t.Context(), "enough", 2*time.Second); err != nil {
		t.Error(err)
	}
	if got := <-h.stops; got != "enough2s" {
		t.Errorf("stopped with %q", got)
	}
	if err := h.Signal(t.Context(), "SIGINT"); !errors.Is(err, client.ErrNotReady) {
		t.Errorf("a signal to no agent: %v", err)
	}
	if _, err := h.Attach(t.Context(), client.AttachOptions{Stdout: io.Discard}); !errors.Is(err, client.ErrNotReady) {
		t.Errorf("attached to no agent: %v", err)
	}
}

func TestNoWardenIsGone(t *testing.T) {
	t.Parallel()
	c := client.Dial(filepath.Join(t.TempDir(), "none"))
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrGone) {
		t.Errorf("status: %v", err)
	}
	if _, err := c.Attach(t.Context(), client.AttachOptions{Stdout: io.Discard}); !errors.Is(err, client.ErrGone) {
		t.Errorf("attach: %v", err)
	}
	h := serve(t)
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	if err := h.Client.Progress(t.Context(), func(progress.Event) {}); !errors.Is(err, client.ErrGone) {
		t.Errorf("after its end: %v", err)
	}
}

func TestProgressIsReplayedAndFollowed(t *testing.T) {
	t.Parallel()
	h := serve(t)
	const before, after = 5000, 7
	for i := range before {
		h.Server.Progress().Add(progress.Event{Line: fmt.Sprint(i)})
	}
	var lines []string
	err := h.Client.Progress(t.Context(), func(e progress.Event) {
		if lines == nil {
			for range after {
				h.Server.Progress().Add(progress.Event{Line: "late"})
			}
			h.Server.Progress().Add(progress.Event{End: &progress.End{OK: true}})
		}
		lines = append(lines, e.Line)
	})
	if err != nil {
		t.Fatal(err)
	}
	if lines[0] != "0" || lines[len(lines)-2] != "late" || len(lines) > 4000 || !strings.Contains(strings.Join(lines, "\n"), "lines left out)") {
		t.Errorf("got %d lines from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}

func TestProgressThatBreaksOffIsGone(t *testing.T) {
	t.Parallel()
	h := serve(t)
	h.Server.Progress().Add(progress.Event{Line: "x"})
	err := h.Client.Progress(t.Context(), func(progress.Event) { go h.end() })
	if !errors.Is(err, client.ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestAuditIsFollowed(t *testing.T) {
	t.Parallel()
	h := serve(t)
	if err := h.Audit(t.Context(), 0, false, func(audit.Event) error { return errors.New("one event") }); err != nil {
		t.Errorf("with no record yet: %v", err)
	}
	f, err := os.Create(h.audit)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	add := func(seq uint64) {
		if err := enc.Encode(audit.Event{V: 1, Seq: seq}); err != nil {
			t.Error(err)
		}
	}
	for seq := uint64(1); seq <= 3; seq++ {
		add(seq)
	}
	enough := errors.New("enough")
	var got []uint64
	err = h.Audit(t.Context(), 2, true, func(e audit.Event) error {
		got = append(got, e.Seq)
		if e.Seq == 5 {
			return enough
		}
		add(e.Seq + 1)
		return nil
	})
	if !errors.Is(err, enough) || fmt.Sprint(got) != "[3 4 5]" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAttachDetachReattach(t *testing.T) {
	t.Parallel()
	h := serve(t)
	h.agent(t, true, "bash", "--norc", "--noediting")
	keys, err := client.ParseKeys(client.DefaultKeys)
	if err != nil {
		t.Fatal(err)
	}
	attach := func(in io.Reader, out io.Writer) (client.Result, error) {
		return h.Attach(t.Context(), client.AttachOptions{Stdin: in, Stdout: out, Size: client.Size{Rows: 24, Cols: 80}, Detach: keys})
	}
	in, typed := io.Pipe()
	out := newShown()
	type end struct {
		client.Result
		error
	}
	done := make(chan end, 1)
	go func() { r, err := attach(in, out); done <- end{r, err} }()
	fmt.Fprint(typed, "echo he''llo\n")
	out.wait(t, "hello")
	fmt.Fprint(typed, "\x1dd")
	if e := <-done; !e.Detached || e.Exit != nil || e.error != nil || !e.TTY {
		t.Errorf("detached: %+v", e)
	}
	if st, err := h.Status(t.Context()); err != nil || st.Attached > 1 {
		t.Errorf("attached %d, %v", st.Attached, err)
	}

	in, typed = io.Pipe()
	again := newShown()
	go func() { r, err := attach(in, again); done <- end{r, err} }()
	again.wait(t, "hello") // repainted
	fmt.Fprint(typed, "exit 5\n")
	if e := <-done; e.Exit == nil || e.Exit.Code != 5 || e.error != nil {
		t.Errorf("ended: %+v", e)
	}
}

func TestAttachHeadless(t *testing.T) {
	t.Parallel()
	h := serve(t)
	h.agent(t, false, "bash", "-c", "cat; echo err >&2; exit 4")
	want := strings.Repeat("0123456789abcde\n", 40000)
	var out, errs bytes.Buffer
	r, err := h.Attach(t.Context(), client.AttachOptions{Stdin: strings.NewReader(want), Stdout: &out, Stderr: &errs})
	if err != nil || r.Exit == nil || r.Exit.Code != 4 || out.String() != want || errs.String() != "err\n" || r.TTY {
		t.Errorf("got %d of %d bytes, %q, %+v, %v", out.Len(), len(want), errs.String(), r, err)
	}
}

func TestAttachSurvivesDyingClientsAndNonsense(t *testing.T) {
	t.Parallel()
	h := serve(t)
	h.agent(t, true, "bash", "--norc", "--noediting")
	for _, after := range []string{"", "\xff\xff\xff\xff\xff\xff", "\x01\x00\x00", "\x02\x00\x00\x00\x01x", "\x04\x00\x00\x00\x01x"} {
		c, err := net.Dial("unix", h.path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /v1/attach?rows=24&cols=80 HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n%s", warden.AttachProtocol, after)
		if after == "" {
			_, _ = c.Read(make([]byte, 10)) // attached for sure
		}
		_ = c.Close()
	}
	in, typed := io.Pipe()
	out := newShown()
	done := make(chan error, 1)
	go func() {
		_, err := h.Attach(t.Context(), client.AttachOptions{Stdin: in, Stdout: out, Size: client.Size{Rows: 24, Cols: 80}})
		done <- err
	}()
	fmt.Fprint(typed, "echo al''ive; exit\n")
	out.wait(t, "alive")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWardenThatEndsEndsAttach(t *testing.T) {
	t.Parallel()
	h := serve(t)
	h.agent(t, true, "cat")
	done := make(chan error, 1)
	out := newShown()
	in, typed := io.Pipe()
	go func() {
		_, err := h.Attach(t.Context(), client.AttachOptions{Stdin: in, Stdout: out})
		done <- err
	}()
	fmt.Fprint(typed, "x")
	out.wait(t, "x")
	if err := h.end(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, client.ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestServerRefusesNonsense(t *testing.T) {
	t.Parallel()
	h := serve(t)
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return state.DialSocket(ctx, h.path)
	}}}
	for request, want := range map[string]int{
		"POST /v1/stop {":                                  400,
		"POST /v1/stop {\"reasons\":\"typo\"}":             400,
		"POST /v1/stop " + strings.Repeat("x", 100<<10):    400,
		"POST /v1/stop ":                                   400,
		"GET /v1/audit?from=x ":                            400,
		"GET /v1/nothing ":                                 404,
		"DELETE /v1/status ":                               404,
		"POST /v1/stop {\"reason\":\"r\",\"grace_ms\":-5}": 202,
	} {
		method, rest, _ := strings.Cut(request, " ")
		path, body, _ := strings.Cut(rest, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, "http://w"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Errorf("%.40s: %v", request, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%.40s: %s, want %d", request, resp.Status, want)
		}
	}
}
