package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

func id(t *testing.T, s string) bottle.ID {
	t.Helper()
	v, err := bottle.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *Store, name string, state bottle.State) *Dir {
	t.Helper()
	agent, err := bottle.ParseName(name[:len(name)-6])
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Create(Metadata{ID: id(t, name), Agent: agent, State: state, Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func only(t *testing.T, s *Store) Entry {
	t.Helper()
	entries, err := s.List(t.Context())
	if err != nil || len(entries) != 1 {
		t.Fatalf("List gives %d entries, %v", len(entries), err)
	}
	return entries[0]
}

func TestRootMustBePrivate(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Chmod(root, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a root that others can write opens: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link); err == nil {
		t.Error("a root that is a link opens")
	}
	if _, err := Open("relative"); err == nil {
		t.Error("a relative root opens")
	}
	made := filepath.Join(t.TempDir(), "a", "b")
	if _, err := Open(made); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(made); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("made with mode %v, %v", fi.Mode(), err)
	}
}

func TestCreateOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := create(t, s, "agent-aaaaa", bottle.Creating)
	if _, err := s.Create(Metadata{ID: d.ID(), Agent: bottle.Name{}}); err == nil {
		t.Error("a bottle without an agent is made")
	}
	m, err := d.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(m); !errors.Is(err, ErrExists) {
		t.Errorf("the second is %v", err)
	}
	if m, err := d.Metadata(); err != nil || m.ID != d.ID() || m.V != 1 {
		t.Errorf("metadata %+v, %v", m, err)
	}
	if fi, err := os.Stat(d.Path(MetadataFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

func TestGetByPrefix(t *testing.T) {
	t.Parallel()
	s := open(t)
	create(t, s, "agent-aaaaa", bottle.Stopped)
	create(t, s, "agent-aabbb", bottle.Stopped)
	for prefix, want := range map[string]error{
		"agent-aaaaa": nil, "agent-aaa": nil, "agent-aab": nil,
		"agent": ErrAmbiguous, "other": ErrNotFound, "": ErrNotFound, "../state": ErrNotFound,
	} {
		d, err := s.Get(prefix)
		if !errors.Is(err, want) || want == nil && !strings.HasPrefix(d.ID().String(), prefix) {
			t.Errorf("Get(%q) is %v, want %v", prefix, err, want)
		}
	}
}

func TestLockTellsTheLiving(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := create(t, s, "agent-aaaaa", bottle.Running)
	lock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e := only(t, s); !e.Alive || e.State != bottle.Running || e.Problem != "" {
		t.Errorf("while its warden lives: %+v", e)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Lock(short); !errors.Is(err, ErrLocked) {
		t.Errorf("a second warden: %v", err)
	}
	if err := d.Remove(short); !errors.Is(err, ErrLocked) {
		t.Errorf("removed alive: %v", err)
	}
	lock.Release()
	lock.Release()
	e := only(t, s)
	if e.Alive || e.State != bottle.Failed || e.Reason != WardenDied || e.Ended == nil {
		t.Errorf("after its warden died: %+v", e)
	}
	if m, err := d.Metadata(); err != nil || m.State != bottle.Failed || m.Reason != WardenDied {
		t.Errorf("on disk: %+v, %v", m, err)
	}
	if err := d.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.Remove(t.Context()); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestYoungBottleIsNotDeclaredDead(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := create(t, s, "agent-aaaaa", bottle.Creating)
	if e := only(t, s); e.State != bottle.Creating {
		t.Errorf("a young one is %v", e.State)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(d.Path(MetadataFile), old, old); err != nil {
		t.Fatal(err)
	}
	if e := only(t, s); e.State != bottle.Failed {
		t.Errorf("an old one is %v", e.State)
	}
}

func TestBrokenFoldersAreToldNotFatal(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"no metadata":   func(p string) error { return os.Remove(filepath.Join(p, MetadataFile)) },
		"no JSON":       func(p string) error { return os.WriteFile(filepath.Join(p, MetadataFile), []byte("{"), 0o600) },
		"other version": func(p string) error { return os.WriteFile(filepath.Join(p, MetadataFile), []byte(`{"v":9}`), 0o600) },
		"other's content": func(p string) error {
			return os.WriteFile(filepath.Join(p, MetadataFile), []byte(`{"v":1,"id":"other-aaaaa","agent":"a"}`), 0o600)
		},
		"huge": func(p string) error {
			return os.WriteFile(filepath.Join(p, MetadataFile), make([]byte, maxMetadata+1), 0o600)
		},
		"writable by others": func(p string) error { return os.Chmod(p, 0o777) },
		"metadata is a pipe": func(p string) error {
			return errors.Join(os.Remove(filepath.Join(p, MetadataFile)), syscall.Mkfifo(filepath.Join(p, MetadataFile), 0o600))
		},
		"metadata is a link": func(p string) error {
			return errors.Join(os.Remove(filepath.Join(p, MetadataFile)), os.Symlink("/etc/passwd", filepath.Join(p, MetadataFile)))
		},
		"a file": func(p string) error { return errors.Join(os.RemoveAll(p), os.WriteFile(p, nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			create(t, s, "good-aaaaa", bottle.Stopped)
			bad := create(t, s, "bad-aaaaa", bottle.Stopped)
			if err := spoil(bad.Path("")); err != nil {
				t.Fatal(err)
			}
			entries, err := s.List(t.Context())
			if err != nil || len(entries) != 2 {
				t.Fatalf("List gives %d entries, %v", len(entries), err)
			}
			if entries[0].Problem == "" || entries[1].Problem != "" {
				t.Errorf("problems %q and %q", entries[0].Problem, entries[1].Problem)
			}
		})
	}
}

func TestUpdatesAddUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := create(t, s, "agent-aaaaa", bottle.Creating)
	errs := make(chan error)
	for range 8 {
		go func() {
			var err error
			for range 10 {
				err = errors.Join(err, d.Update(func(m *Metadata) error { m.WardenPID++; return nil }))
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if m, err := d.Metadata(); err != nil || m.WardenPID != 80 {
		t.Errorf("80 increments give %d, %v", m.WardenPID, err)
	}
	if err := d.Update(func(m *Metadata) error { return m.To(bottle.Stopped) }); err == nil {
		t.Error("a creating bottle became stopped")
	}
}

func TestRemoveOpensWhatTheAgentClosed(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := create(t, s, "agent-aaaaa", bottle.Stopped)
	outside := filepath.Join(t.TempDir(), "outside")
	closed := d.Path("home/a/b")
	err := errors.Join(
		os.WriteFile(outside, nil, 0o600),
		os.MkdirAll(closed, 0o700),
		os.WriteFile(filepath.Join(closed, "f"), nil, 0),
		os.Symlink(filepath.Dir(outside), filepath.Join(closed, "out")),
		os.Chmod(closed, 0), os.Chmod(filepath.Dir(closed), 0o500),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(s.Root()); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
}

// TestCrashBetweenAnySteps kills a process that creates, updates and removes a bottle after each
// of its steps, and looks at what is left.
func TestCrashBetweenAnySteps(t *testing.T) {
	if root := os.Getenv("STATE_CRASH_ROOT"); root != "" {
		dieAfter(t, root, os.Getenv("STATE_CRASH_STEP"))
		return
	}
	t.Parallel()
	for step := 1; ; step++ {
		root := filepath.Join(t.TempDir(), "state")
		child := exec.Command(os.Args[0], "-test.run=^TestCrashBetweenAnySteps$")
		child.Env = append(os.Environ(), "STATE_CRASH_ROOT="+root, fmt.Sprintf("STATE_CRASH_STEP=%d", step))
		out, err := child.CombinedOutput()
		if err == nil {
			if step < 12 {
				t.Errorf("only %d steps: %s", step, out)
			}
			return
		}
		if !strings.Contains(err.Error(), "killed") {
			t.Fatalf("step %d: %v: %s", step, err, out)
		}
		s, err := Open(root)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := s.List(t.Context())
		if err != nil || len(entries) > 1 {
			t.Fatalf("step %d: %d entries, %v", step, len(entries), err)
		}
		for _, e := range entries {
			if e.Problem != "" || e.Alive || e.State == bottle.Running {
				t.Errorf("step %d: %+v", step, e)
			}
		}
		converge(t, s, step)
	}
}

// converge checks that the name can be used again and that nothing stays behind.
func converge(t *testing.T, s *Store, step int) {
	t.Helper()
	if d, err := s.Get("agent-aaaaa"); err == nil {
		if err := d.Remove(t.Context()); err != nil {
			t.Errorf("step %d: %v", step, err)
		}
	}
	left, _ := os.ReadDir(s.Root())
	old := time.Now().Add(-time.Hour)
	for _, e := range left {
		_ = os.Chtimes(filepath.Join(s.Root(), e.Name()), old, old)
	}
	if _, err := s.List(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ = os.ReadDir(s.Root()); len(left) != 0 {
		t.Errorf("step %d leaves %v", step, left)
	}
}

func dieAfter(t *testing.T, root, after string) {
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	s.step = func(string) {
		if n++; fmt.Sprint(n) == after {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	d := create(t, s, "agent-aaaaa", bottle.Creating)
	lock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(func(m *Metadata) error { return m.To(bottle.Running) }); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveHeld(lock); err != nil {
		t.Fatal(err)
	}
}

func TestWaitFreeEndsWithTheWarden(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, s, "agent-aaaaa", bottle.Creating)
	lock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("patience has ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := d.WaitFree(ctx); !errors.Is(err, why) {
		t.Errorf("with a warden: %v", err)
	}
	free := make(chan error, 1)
	go func() { free <- d.WaitFree(t.Context()) }()
	if err := d.RemoveHeld(lock); err != nil {
		t.Fatal(err)
	}
	if err := <-free; err != nil {
		t.Errorf("after the warden's end: %v", err)
	}
	if _, err := os.Lstat(d.Path("")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if err := d.WaitFree(t.Context()); err != nil {
		t.Errorf("of a folder that is gone: %v", err)
	}
}

func TestSocketPathMayBeLong(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, SocketFile)
	for range 2 { // the second finds the first's socket, as after a crash
		l, err := ListenSocket(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := DialSocket(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		if fi, err := os.Lstat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("the socket: %v, %v", fi, err)
		}
	}
	if _, err := DialSocket(t.Context(), path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}
