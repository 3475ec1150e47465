package backendtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// patience bounds everything a row waits for.
const patience = 30 * time.Second

// fixture is a bottle for a row, with what surrounds it.
type fixture struct {
	t       *testing.T
	backend backend.Backend
	spec    backend.Spec
	bottle  backend.Bottle
	home    string // on the host
	work    string // on the host
}

// attacker is where the test binary is in the bottle.
const attacker = backend.Programs + "/attacker"

// prepare makes a Spec with a home, a workspace and the attacker, and the folders on the host.
func prepare(t *testing.T, c Config, change ...func(*backend.Spec)) *fixture {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, backend: c.Open(exe), home: t.TempDir(), work: t.TempDir()}
	f.spec = backend.Spec{
		ID: newID(t), Dir: t.TempDir(), Hostname: "test",
		Mounts: []backend.Mount{
			{Source: f.home, Target: backend.Home, Writable: true},
			{Source: f.work, Target: backend.Workspace, Writable: true},
			{Source: exe, Target: attacker},
		},
		Limits: backend.Limits{PIDs: 256, Tmp: 64 << 20},
		System: c.System, Cache: t.TempDir(),
	}
	for _, do := range change {
		do(&f.spec)
	}
	return f
}

func newID(t *testing.T) bottle.ID {
	t.Helper()
	name, err := bottle.ParseName("suite")
	if err != nil {
		t.Fatal(err)
	}
	id, err := bottle.NewID(name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// up starts a bottle that is stopped with the row and must then have left nothing.
func up(t *testing.T, c Config, change ...func(*backend.Spec)) *fixture {
	t.Helper()
	f := prepare(t, c, change...)
	f.start()
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	b, err := f.backend.Start(ctx, f.spec, nil)
	if err != nil {
		f.t.Fatalf("start: %v", err)
	}
	f.bottle = b
	f.t.Cleanup(func() {
		f.stop()
		f.nothingLeft()
	})
}

func (f *fixture) stop() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.bottle.Stop(ctx); err != nil {
		f.t.Errorf("stop: %v", err)
	}
}

// nothingLeft checks that neither the backend nor the host's mount table knows the bottle.
func (f *fixture) nothingLeft() {
	f.t.Helper()
	left, err := f.backend.Found(context.Background())
	if err != nil {
		f.t.Errorf("found: %v", err)
	}
	for _, l := range left {
		if l.ID == f.spec.ID {
			f.t.Errorf("left behind: %s", l.What)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if errors.Is(err, os.ErrNotExist) {
		return // a host that isn't Linux mounts nothing
	}
	if err != nil {
		f.t.Error(err)
	}
	for _, dir := range []string{f.spec.Dir, f.home, f.work} {
		if bytes.Contains(mounts, []byte(" "+dir+" ")) {
			f.t.Errorf("%s is still mounted on the host", dir)
		}
	}
}

// ids are the agent's, as the bottle has them: "1000:1000". They are never root's.
func (f *fixture) ids() string {
	f.t.Helper()
	ids := f.sh("id -u agent; id -g agent")
	uid, gid, _ := strings.Cut(ids, "\n")
	if uid == "0" || gid == "0" {
		f.t.Errorf("the agent is %s:%s", uid, gid)
	}
	return uid + ":" + gid
}

// result is how a command in the bottle ended.
type result struct {
	out, err string
	exit     wire.Exit
}

// environment of commands in the bottle. The last one keeps an attacker built with the race detector
// from sleeping a second before it exits.
var environment = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + backend.Home, "LANG=C.UTF-8", "TERM=xterm", "GORACE=atexit_sleep_ms=0"}

// run runs a command in the bottle and waits for it.
func (f *fixture) run(argv ...string) result { return f.runWith(wire.Command{Argv: argv}) }

func (f *fixture) runWith(c wire.Command) result {
	f.t.Helper()
	r, err := f.execute(c)
	if err != nil {
		f.t.Fatalf("exec %q: %v\n%s%s%s", c.Argv, err, r.out, r.err, f.whyEnded())
	}
	return r
}

// try runs a shell script that the bottle may end of. The error is of a script that did not come to its end.
func (f *fixture) try(script string) (result, error) {
	return f.execute(wire.Command{Argv: []string{"/bin/sh", "-ec", script}})
}

func (f *fixture) execute(c wire.Command) (r result, err error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if c.Env == nil {
		c.Env = environment
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
	p, err := wire.Exec(ctx, f.bottle.Wire(), c)
	if err != nil {
		return r, err
	}
	if !c.TTY {
		_ = p.Stdin.Close() // a command that has ended by now needs no telling that no more comes
	}
	var reading sync.WaitGroup
	for from, to := range map[io.Reader]*string{p.Stdout: &r.out, p.Stderr: &r.err} {
		reading.Go(func() {
			b, _ := io.ReadAll(from) // Wait tells about errors
			*to = string(b)
		})
	}
	reading.Wait()
	r.exit, err = p.Wait()
	return r, err
}

// whyEnded is why the bottle has ended, when it has.
func (f *fixture) whyEnded() string {
	select {
	case <-f.bottle.Done():
	case <-time.After(3 * time.Second): // for one that is about to
	}
	if err := f.bottle.Err(); err != nil {
		return " (the bottle: " + err.Error() + ")"
	}
	return ""
}

// sh runs a shell script that must succeed and returns what it printed, trimmed.
func (f *fixture) sh(script string) string {
	f.t.Helper()
	r := f.run("/bin/sh", "-ec", script)
	if r.exit.Code != 0 || r.exit.Error != "" {
		f.t.Fatalf("%s\nended with %+v\n%s%s", script, r.exit, r.out, r.err)
	}
	return strings.TrimSpace(r.out)
}

// fails runs a shell script that must not succeed and returns what it said.
func (f *fixture) fails(script string) string {
	f.t.Helper()
	r := f.run("/bin/sh", "-ec", script)
	if r.exit.Code == 0 {
		f.t.Errorf("%s\nsucceeded: %s", script, r.out)
	}
	return r.err
}

// attack runs an attack in the bottle and returns what became of each of its attempts, by name:
// "ok" or the error's name.
func (f *fixture) attack(name string, tty bool, args ...string) map[string]string {
	f.t.Helper()
	r := f.runWith(wire.Command{Argv: append([]string{attacker, attackCommand, name}, args...), TTY: tty, Rows: 24, Cols: 80})
	if r.exit.Code != 0 || r.exit.Error != "" {
		f.t.Fatalf("attack %s could not be tried: %+v\n%s%s", name, r.exit, r.out, r.err)
	}
	came := map[string]string{}
	for line := range strings.Lines(r.out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			came[k] = v
		}
	}
	if len(came) == 0 {
		f.t.Fatalf("attack %s reported nothing: %s%s", name, r.out, r.err)
	}
	return came
}

// write makes a file on the host.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// nonce is a word nobody else writes.
func nonce() string { return "planted-" + rand.Text() }
