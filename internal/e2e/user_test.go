//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/selftest"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// user is an operator other than the one who runs the tests.
type user struct {
	name     string
	uid, gid uint32
}

const userPrefix = "cb-e2e-"

// makeUser makes an ordinary user who goes with the test. Users that a killed run left go as well.
func makeUser(t *testing.T) *user {
	t.Helper()
	sweepUsers(t)
	name := userPrefix + itoa(os.Getpid())
	known.Lock()
	known.users = append(known.users, name)
	known.Unlock()
	t.Cleanup(func() { command(t, "userdel", "--remove", name) })
	command(t, "useradd", "--create-home", "--home-dir", filepath.Join(os.TempDir(), name), name)
	u, err := osuser.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &user{name, uint32(uid), uint32(gid)}
}

func sweepUsers(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, ":")
		pid, ours := strings.CutPrefix(name, userPrefix)
		if _, err := os.Stat("/proc/" + pid); ours && err != nil {
			command(t, "userdel", name)
		}
	}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil && !strings.Contains(string(out), "mail spool") {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// selfTested checks that every probe there is was run in the bottle, and saw no leak.
func selfTested(t *testing.T, b *sealed) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.dir, state.SelfTestFile))
	if err != nil {
		t.Fatal(err)
	}
	var r selftest.Record
	if err := json.Unmarshal(raw, &r); err != nil || !r.OK || r.Summary.Probes != len(selftest.Names()) || r.Summary.Leaks+r.Summary.Unproven > 0 {
		t.Errorf("%v: %+v", err, r)
	}
}

// When root runs the tests, an ordinary user runs the core of them. When an ordinary user does,
// all of them are theirs.
func TestOrdinaryUser(t *testing.T) {
	if carried() {
		onlyNative(t, "another user has no right to an engine that is not the tests' own")
	}
	var u *user
	if os.Geteuid() == 0 {
		u = makeUser(t)
	}
	h, err := makeHome(u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("start detached", func(t *testing.T) {
		r := h.run(t, "start", "evil", "--cwd", "--yes", "--detach")
		id := strings.TrimSpace(r.out)
		if r.code != 0 || id == "" {
			t.Fatal(r)
		}
		if l := h.run(t, "list", "--json"); l.code != 0 || !strings.Contains(l.out, id) || !strings.Contains(l.out, `"alive": true`) {
			t.Errorf("list: %v", l)
		}
		if s := h.run(t, "stop", id, "--grace", "0s"); s.code != 0 {
			t.Errorf("stop: %v", s)
		}
	})
	b := h.bottle(t)
	t.Run("self-test", func(t *testing.T) { selfTested(t, b) })
	t.Run("uid", func(t *testing.T) {
		want := uint32(os.Geteuid())
		if u != nil {
			want = u.uid
		}
		for _, p := range append(children(b.warden), process{pid: b.warden}) { // of a container only the warden
			raw, err := os.ReadFile("/proc/" + itoa(p.pid) + "/status")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(raw), fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", want)) {
				t.Errorf("process %d is not uid %d's: %s", p.pid, want, raw)
			}
		}
	})
	t.Run("A01", func(t *testing.T) { literals(t, b) })
	t.Run("B02", func(t *testing.T) { tunnel(t, b) })
	t.Run("F01", func(t *testing.T) { engineSockets(t, b) })
	t.Run("E15", func(t *testing.T) { ownership(t, h) })
	if u != nil && containers == nil { // else TestLeaksAreRefused was theirs, or told why not
		t.Run("leaks", func(t *testing.T) { leaks(t, h) })
	}
}
