package native

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/idmap"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// aSpec is a bottle with a home.
func aSpec(t testing.TB) backend.Spec {
	t.Helper()
	name, err := bottle.ParseName("native")
	if err != nil {
		t.Fatal(err)
	}
	id, err := bottle.NewID(name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return backend.Spec{
		ID: id, Dir: t.TempDir(), Hostname: "native",
		Mounts: []backend.Mount{{Source: t.TempDir(), Target: backend.Home, Writable: true}},
		Limits: backend.Limits{Memory: 1 << 30, PIDs: 200, CPUs: 2, Disk: 1 << 30, Tmp: 64 << 20},
	}
}

func self(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func started(t *testing.T, s backend.Spec) *Bottle {
	t.Helper()
	b, err := New(self(t)).Start(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b.(*Bottle)
}

// A program that isn't ours in cork's place: the start fails, says what it said, and leaves nothing.
func TestNotCork(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"/not/there": "no such file", "/bin/true": "without a word", "/bin/ls": "cannot access",
	} {
		s := aSpec(t)
		n := New(name)
		_, err := n.Start(t.Context(), s, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		nothingOf(t, n, s.ID)
	}
}

// One that hangs is given up when ctx ends.
func TestHangingCork(t *testing.T) {
	t.Parallel()
	s := aSpec(t)
	n := New("/usr/bin/yes") // writes to nowhere, for ever
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("waited long enough"))
	defer cancel()
	if _, err := n.Start(ctx, s, nil); err == nil || !strings.Contains(err.Error(), "waited long enough") {
		t.Errorf("%v", err)
	}
	nothingOf(t, n, s.ID)
}

func nothingOf(t *testing.T, n *Backend, id bottle.ID) {
	t.Helper()
	left, err := n.Found(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, l := range left {
		if l.ID == id {
			t.Errorf("left behind: %s", l.What)
		}
	}
}

// Whoever kills cork kills the bottle.
func TestCorkKilled(t *testing.T) {
	t.Parallel()
	b := started(t, aSpec(t))
	p, err := wire.Exec(t.Context(), b.Wire(), wire.Command{Argv: []string{"/bin/sleep", "1000"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cork.process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err == nil {
		t.Error("the program ended well")
	}
	select {
	case <-b.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("not done")
	}
	if err := b.Err(); err == nil || !strings.Contains(err.Error(), "killed from outside") {
		t.Errorf("it ended because of %v", err)
	}
}

// On the host no process of a bottle is root, and none has a right over the host.
func TestIdentitiesOnTheHost(t *testing.T) {
	t.Parallel()
	b := started(t, aSpec(t))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cork.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d", b.Report().CorkUID)
	if !strings.Contains(string(status), want) || b.Report().CorkUID == 0 {
		t.Errorf("cork's status lacks %q:\n%s", want, status)
	}
	if err := syscall.Kill(b.cork.process.Pid, 0); err != nil {
		t.Error(err)
	}
}

// Root works in a folder that belongs to somebody else, as with sudo-less administration of a
// user's project: what the agent makes there is that user's.
func TestFolderOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // nobody else's folder could be given away
	}
	s := aSpec(t)
	private := t.TempDir() // its parents are root's alone
	theirs := filepath.Join(private, "theirs")
	if err := errors.Join(os.Mkdir(theirs, 0o700), os.Chown(theirs, ordinary, ordinary+1), os.Chmod(private, 0o700)); err != nil {
		t.Fatal(err)
	}
	s.Mounts = append(s.Mounts, backend.Mount{Source: theirs, Target: backend.Workspace, Writable: true})
	b := started(t, s)
	p, err := wire.Exec(t.Context(), b.Wire(), wire.Command{Argv: []string{"/bin/mkdir", "/workspace/made", "/home/agent/made"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Fatalf("%+v, %v", exit, err)
	}
	for path, want := range map[string][2]int{filepath.Join(theirs, "made"): {ordinary, ordinary + 1}, filepath.Join(s.Mounts[0].Source, "made"): {0, 0}} {
		if uid, gid, err := idmap.Owner(path); err != nil || [2]int{uid, gid} != want {
			t.Errorf("%s belongs to %d:%d, %v", path, uid, gid, err)
		}
	}
}

func TestOrderOfMounts(t *testing.T) {
	t.Parallel()
	s := aSpec(t)
	s.Mounts = nil
	for _, target := range []string{"/a/b/c", "/a", "/z/y", "/a/b", "/b"} {
		s.Mounts = append(s.Mounts, backend.Mount{Source: "/x", Target: target})
	}
	j, err := plan(s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range j.Mounts {
		got = append(got, m.Target)
	}
	if want := []string{"/a", "/b", "/z/y", "/a/b", "/a/b/c"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
