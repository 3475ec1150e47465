package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

var lifeRows = []row{
	{"stops and stopping again is no error", stops},
	{"an ID is taken once", takenOnce},
	{"a context that has ended starts nothing", cancelledBefore},
	{"a context that ends meanwhile leaves nothing", cancelledMeanwhile},
	{"a spec that can't be is refused", refusesSpecs},
	{"runs programs", runsPrograms},
	{"gives a terminal", givesTerminal},
	{"says what the seal is made of", reports},
	{"dies with the process that holds it", diesWithHolder},
	{"dies when the wire is cut", diesWithWire},
	{"many at once", manyAtOnce},
}

func stops(t *testing.T, c Config) {
	f := up(t, c)
	if err := f.bottle.Err(); err != nil {
		t.Errorf("a running bottle has ended: %v", err)
	}
	alive := f.holdOpen(c)
	f.stop()
	f.stop()
	select {
	case <-f.bottle.Done():
	default:
		t.Error("stopped, but not done")
	}
	if err := f.bottle.Err(); err != nil {
		t.Errorf("a bottle stopped by us ended because of %v", err)
	}
	alive.ended()
	if _, err := f.bottle.Ways().Any.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a way out is open after the end: %v", err)
	}
	if _, err := wire.Exec(t.Context(), f.bottle.Wire(), wire.Command{Argv: []string{"true"}, Dir: "/"}); err == nil {
		t.Error("a program started after the end")
	}
}

func takenOnce(t *testing.T, c Config) {
	f := up(t, c)
	again, err := f.backend.Start(t.Context(), f.spec, nil)
	if !errors.Is(err, backend.ErrExists) {
		t.Errorf("the second start of one ID: %v", err)
	}
	if again != nil {
		_ = again.Stop(t.Context()) // the test failed already
	}
	if got := f.sh("echo alive"); got != "alive" {
		t.Errorf("the first is harmed: %q", got)
	}
	f.stop()
	f.start()
	f.sh("true")
}

func cancelledBefore(t *testing.T, c Config) {
	f := prepare(t, c)
	cause := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := f.backend.Start(ctx, f.spec, nil); !errors.Is(err, cause) {
		t.Errorf("start: %v", err)
	}
	f.nothingLeft()
}

func cancelledMeanwhile(t *testing.T, c Config) {
	// Wherever in the start it falls, the outcome is a bottle or the cause and nothing else.
	for _, after := range []time.Duration{0, time.Millisecond, 4 * time.Millisecond, 8 * time.Millisecond, 12 * time.Millisecond} {
		f := prepare(t, c)
		cause := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(after, func() { cancel(cause) })
		b, err := f.backend.Start(ctx, f.spec, nil)
		timer.Stop()
		switch {
		case err == nil:
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		case !errors.Is(err, cause):
			t.Errorf("cancelled after %v: %v", after, err)
		}
		f.nothingLeft()
		cancel(nil)
	}
}

func refusesSpecs(t *testing.T, c Config) {
	for name, change := range map[string]func(*backend.Spec){
		"no id":             func(s *backend.Spec) { s.ID = bottle.ID{} },
		"host name":         func(s *backend.Spec) { s.Hostname = "a\nb" },
		"relative source":   func(s *backend.Spec) { s.Mounts[0].Source = "home" },
		"unclean source":    func(s *backend.Spec) { s.Mounts[0].Source += "/../x" },
		"missing source":    func(s *backend.Spec) { s.Mounts[0].Source += "/missing" },
		"root target":       func(s *backend.Spec) { s.Mounts[0].Target = "/" },
		"relative target":   func(s *backend.Spec) { s.Mounts[0].Target = "home" },
		"climbing target":   func(s *backend.Spec) { s.Mounts[0].Target = "/home/../etc" },
		"target in /proc":   func(s *backend.Spec) { s.Mounts[0].Target = "/proc/self" },
		"target is /dev":    func(s *backend.Spec) { s.Mounts[0].Target = "/dev" },
		"two at one target": func(s *backend.Spec) { s.Mounts[1].Target = s.Mounts[0].Target },
		"file in /proc":     func(s *backend.Spec) { s.Files = []backend.File{{Path: "/proc/x"}} },
		"target in /usr":    func(s *backend.Spec) { s.Mounts[0].Target = "/usr/not/there" },
	} {
		t.Run(name, func(t *testing.T) {
			if c.own() && name == "target in /usr" {
				return // nobody else has that system, so anything may be put into it
			}
			f := prepare(t, c, change)
			b, err := f.backend.Start(t.Context(), f.spec, nil)
			if err == nil {
				t.Error("started")
				_ = b.Stop(t.Context()) // the test failed already
			}
			f.nothingLeft()
		})
	}
}

func runsPrograms(t *testing.T, c Config) {
	f := up(t, c)
	r := f.runWith(wire.Command{
		Argv: []string{"sh", "-c", `echo "$WORD in $(pwd) as $(id -u):$(id -g)"; echo trouble >&2; exit 7`},
		Env:  []string{"PATH=/usr/bin:/bin", "WORD=hello"}, Dir: backend.Workspace,
	})
	if want := "hello in /workspace as " + f.ids() + "\n"; r.out != want || r.err != "trouble\n" || r.exit.Code != 7 {
		t.Errorf("got %q, %q, %+v", r.out, r.err, r.exit)
	}
	if r := f.run("/no/such/program"); r.exit.Code != 127 || r.exit.Error == "" {
		t.Errorf("a missing program ended with %+v", r.exit)
	}
	if got := f.sh("env -i true; kill -0 $$; whoami; hostname; echo $HOME; cat /proc/1/comm >/dev/null; : | cat; ps >/dev/null 2>&1 || :"); got != "agent\ntest\n/home/agent" {
		t.Errorf("got %q", got)
	}
	// Programs of one bottle are one another's: a shell may end what another one started.
	f.sh("sleep 1000 >/dev/null 2>&1 & echo $! > /tmp/pid")
	f.sh("kill $(cat /tmp/pid)")
}

func givesTerminal(t *testing.T, c Config) {
	f := up(t, c)
	r := f.runWith(wire.Command{Argv: []string{"sh", "-c", "tty; stty size; echo yes > /dev/tty; exec 3<>$(tty); echo again >&3"}, TTY: true, Rows: 33, Cols: 77})
	want := []string{"/dev/pts/0", "33 77", "yes", "again"}
	if got := strings.Fields(strings.ReplaceAll(r.out, "33 77", "33_77")); !slices.Equal(got, []string{want[0], "33_77", want[2], want[3]}) {
		t.Errorf("got %q, %+v", r.out, r.exit)
	}
}

func reports(t *testing.T, c Config) {
	f := up(t, c, func(s *backend.Spec) {
		s.Limits = backend.Limits{Memory: 1 << 30, PIDs: 99, CPUs: 1, Disk: 1 << 30, Tmp: 1 << 20}
	})
	r := f.bottle.Report()
	if r.Backend != f.backend.Name() || r.AgentUID == 0 || r.CorkUID == 0 || !r.Seccomp {
		t.Errorf("report %+v", r)
	}
	for limit, by := range c.Enforced {
		word := strings.TrimSuffix(limit, "s")
		said := slices.ContainsFunc(r.Limits, func(l string) bool { return strings.HasPrefix(l, word) })
		noted := slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, word) })
		if by.By != "" && !said || by.By == "" && !noted {
			t.Errorf("limit %s is enforced by %q; the report says %q, notes %q", limit, by.By, r.Limits, r.Notes)
		}
	}
}

// pulse is a sign of life of a process in a bottle.
type pulse interface {
	// began waits until the process lives.
	began()
	// ended waits until it does no more.
	ended()
}

const heartbeat = "echo . > /workspace/pulse; exec 3>/workspace/pulse; echo . >&3; exec sleep 1000"

func (f *fixture) holdOpen(c Config) pulse {
	f.t.Helper()
	p := newPulse(f, c)
	f.sh("(" + heartbeat + ") >/dev/null 2>&1 &")
	p.began()
	return p
}

func newPulse(f *fixture, c Config) pulse {
	f.t.Helper()
	if c.blind() {
		return remotePulse{f}
	}
	return newPipe(f.t, f.work)
}

// remotePulse is felt by the backend: where folders are carried, or kernels differ, nothing of a bottle's is seen from
// the host but that it runs.
type remotePulse struct{ f *fixture }

func (p remotePulse) began() { p.until("the bottle gives no sign of life", true) }
func (p remotePulse) ended() { p.until("the bottle is still running", false) }

func (p remotePulse) until(otherwise string, running bool) {
	p.f.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		left, err := p.f.backend.Found(context.Background())
		if err != nil {
			p.f.t.Fatal(err)
		}
		if running == slices.ContainsFunc(left, func(l backend.Leftover) bool { return l.ID == p.f.spec.ID && l.Running }) {
			return
		}
		if time.Now().After(end) {
			p.f.t.Fatal(otherwise)
		}
	}
}

// pipe is a pipe in the workspace that a process in the bottle holds open for writing: its end is
// seen by whoever reads, the moment the last process that has it is gone.
type pipe struct {
	t *testing.T
	r *os.File
}

func newPipe(t *testing.T, work string) *pipe {
	t.Helper()
	path := filepath.Join(work, "pulse")
	if err := mkfifo(path); err != nil {
		t.Fatal(err)
	}
	// Both ways, so that opening doesn't wait; the copy that writes goes once a writer is there.
	r, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // only read
	return &pipe{t, r}
}

// began waits until the writer has opened the pipe for good.
func (p *pipe) began() {
	p.t.Helper()
	two := make([]byte, 4)
	p.deadline()
	if _, err := io.ReadFull(p.r, two); err != nil {
		p.t.Fatalf("the program in the bottle gives no sign of life: %v", err)
	}
	r, err := os.OpenFile(p.r.Name(), os.O_RDONLY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = p.r.Close() // what writes is closed with it
	p.r = r
	p.t.Cleanup(func() { _ = r.Close() })
}

// ended waits until nobody has the pipe any more.
func (p *pipe) ended() {
	p.t.Helper()
	p.deadline()
	if rest, err := io.ReadAll(p.r); err != nil {
		p.t.Errorf("a program in the bottle outlived it: %v (%q)", err, rest)
	}
}

func (p *pipe) deadline() {
	if err := p.r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
}

// held is what the holder process is told.
type held struct {
	Exe  string
	ID   bottle.ID
	Spec backend.Spec
}

func diesWithHolder(t *testing.T, c Config) {
	f := prepare(t, c)
	exe := f.spec.Mounts[2].Source
	told, err := json.Marshal(held{Exe: exe, ID: f.spec.ID, Spec: f.spec})
	if err != nil {
		t.Fatal(err)
	}
	p := newPulse(f, c)
	holder := exec.Command(exe, holdCommand, string(told))
	holder.Stderr = os.Stderr
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	killed := sync.OnceFunc(func() {
		if err := holder.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = holder.Wait() // killed
	})
	t.Cleanup(killed)
	p.began()
	killed()
	p.ended()
	// What is left then is found, and goes, and the ID is free.
	if err := f.backend.Remove(t.Context(), f.spec.ID); err != nil {
		t.Errorf("remove: %v", err)
	}
	f.nothingLeft()
	f.start()
	f.sh("true")
}

// hold is the process that is killed.
func hold(open func(string) backend.Backend, told string) error {
	var h held
	if err := json.Unmarshal([]byte(told), &h); err != nil {
		return err
	}
	ctx := context.Background()
	b, err := open(h.Exe).Start(ctx, h.Spec, nil)
	if err != nil {
		return err
	}
	p, err := wire.Exec(ctx, b.Wire(), wire.Command{Argv: []string{"sh", "-c", heartbeat}, Env: environment, Dir: "/"})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return errors.Join(errors.New("the program in the bottle ended"), err)
}

func diesWithWire(t *testing.T, c Config) {
	f := up(t, c)
	alive := f.holdOpen(c)
	if err := f.bottle.Wire().Close(); err != nil {
		t.Error(err)
	}
	alive.ended()
	select {
	case <-f.bottle.Done():
	case <-time.After(patience):
		t.Fatal("the bottle is not done")
	}
	if f.bottle.Err() == nil {
		t.Error("the bottle does not say why it ended")
	}
}

func manyAtOnce(t *testing.T, c Config) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			f := up(t, c)
			word := nonce()
			f.sh("echo " + word + " > /workspace/own; echo x > /tmp/x")
			if c.Carried {
				f.stop() // which brings it home
			}
			if got, err := os.ReadFile(filepath.Join(f.work, "own")); err != nil || strings.TrimSpace(string(got)) != word {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
