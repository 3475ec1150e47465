//go:build linux

package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/state"
)

// onlyWithin leaves a test to the runs over an engine of the tests' own.
func onlyWithin(t testing.TB) {
	t.Helper()
	if containers == nil || containers.name != "docker" {
		t.Skip("it takes a Docker of our own, which the run over docker has")
	}
}

// dockerfile makes the bottles of "sh" from a Dockerfile of these lines over the base.
func (h *home) dockerfile(t testing.TB, lines ...string) {
	t.Helper()
	h.env["CLAUDE_BOTTLE_IMAGE"] = ""
	path := h.path("system/Dockerfile")
	text := strings.Join(append([]string{"FROM " + os.Getenv(baseVar)}, lines...), "\n") + "\n"
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	h.manifest(t, "bottles/sh.md", "agent_provider: {template: shell, dockerfile: "+path+"}")
}

// launchLog is what all launches of a home have said so far.
func (h *home) launchLog() string {
	var all strings.Builder
	found, _ := filepath.Glob(h.path("state/*/" + state.LaunchLog)) // the pattern is good
	for _, path := range found {
		b, _ := os.ReadFile(path) // gone meanwhile says nothing
		all.Write(b)
	}
	return all.String()
}

// Two launches at once of what must be built first build it once.
func TestBuiltOnce(t *testing.T) {
	t.Parallel()
	onlyWithin(t)
	h := shellHome(t)
	const step = "86395"
	h.dockerfile(t, "RUN cat /proc/sys/kernel/random/uuid >/made; sleep "+step+" || true")
	const launches = 2
	results := make([]result, launches)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i] = h.sh(t, "cat /made; exit 7", "--quiet") }) // what failed is kept
	}
	// The build ends when the other launch has come to it.
	within(t, patience, "one waits for the other", func() bool {
		return strings.Contains(h.launchLog(), "waiting for another launch that is building")
	})
	within(t, patience, "the step of the build is found", func() bool { return endCommand("sleep", step) })
	all.Wait()
	for _, r := range results {
		if r.code != 7 || len(strings.TrimSpace(r.out)) != 36 || r.out != results[0].out {
			t.Errorf("not all have the same system: %v", r)
		}
	}
	log := h.launchLog()
	if builds, waits := strings.Count(log, "(sending "), strings.Count(log, "waiting for another launch that is building"); builds != 1 || waits != launches-1 {
		t.Errorf("built %d times, waited for %d times:\n%s", builds, waits, log)
	}
	if r := h.sh(t, "cat /made", "--quiet"); r.out != results[0].out {
		t.Errorf("built again: %v", r)
	}
}

// endCommand kills the process with these words for a command line, and reports whether there was one.
func endCommand(words ...string) bool {
	for _, pid := range pids() {
		line, _ := os.ReadFile("/proc/" + itoa(pid) + "/cmdline") // gone meanwhile is another one's
		if string(line) == strings.Join(words, "\x00")+"\x00" {
			return syscall.Kill(pid, syscall.SIGKILL) == nil
		}
	}
	return false
}

// mortal is an engine that tests kill, and a home whose bottles are in it.
type mortal struct {
	*daemon
	api *client.Client
}

func newMortal(t *testing.T) *mortal {
	t.Helper()
	d, err := newDaemon("mortal", containers.kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	api, err := client.New(client.WithHost(d.host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return &mortal{d, api}
}

// hold keeps containers of the runtime holding from being started until release is called, and those
// that were held from ever being.
func (m *mortal) hold(t testing.TB) (release func()) {
	t.Helper()
	if err := os.WriteFile(m.dir+"/hold", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(m.dir + "/hold"); err != nil {
			t.Error(err)
		}
	}
}

// revive starts the engine again and checks that "cleanup" is then the end of everything that was
// made for the bottles of h.
func (m *mortal) revive(t *testing.T, h *home) {
	t.Helper()
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	cleanUp(t, h)
	if left, err := labelled(m.api); err != nil || len(left) > 0 {
		t.Errorf("left in the engine: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), h.dir) {
		t.Errorf("mounts are left: %s, %v", mounts, err)
	}
}

// failed checks that a command whose engine died has ended, and in words, and that the bottle's folder
// tells the same.
func failed(t *testing.T, h *home, c *attempt, word string) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(callTime): // an engine that doesn't answer is given up after ten seconds
		t.Fatalf("the command hangs:\n%s", c.said.String())
	}
	text := c.said.String()
	if code := c.cmd.ProcessState.ExitCode(); code == 0 || code == -1 || !strings.Contains(text, "error: ") {
		t.Errorf("exit code %d: %s", code, text)
	}
	if !strings.Contains(text, word) {
		t.Errorf("it does not say %q: %s", word, text)
	}
	within(t, patience, "its warden has ended", func() bool { return !only(t, h).Alive })
	e := only(t, h)
	if e.State.String() != "failed" || e.Reason == "" {
		t.Errorf("list: %+v", e)
	}
}

// An engine is killed while it builds, while it starts a container, and while an agent works in one,
// over either wire. Whatever it was, the operator is told, nothing hangs, nothing is lost, nothing gets
// out, and once the engine is back "cleanup" leaves nothing.
func TestEngineKilled(t *testing.T) {
	t.Parallel()
	onlyWithin(t)
	m := newMortal(t)
	home := func(t *testing.T) *home {
		h := shellHome(t)
		h.env["DOCKER_HOST"] = m.host
		return h
	}
	t.Run("building", func(t *testing.T) {
		h := home(t)
		h.dockerfile(t, "RUN echo now it sleeps; sleep 86397")
		c := h.attempt(t, "run", "sh", "--prompt", "true")
		within(t, patience, "it builds", func() bool { return strings.Contains(h.launchLog(), "now it sleeps\n") })
		m.kill()
		failed(t, h, c, "the engine went away")
		if text := c.said.String(); !strings.Contains(text, "hint:  see that the engine runs") {
			t.Errorf("it does not say what to do: %s", text)
		}
		m.revive(t, h)
	})
	t.Run("starting", func(t *testing.T) {
		h := home(t)
		h.manifest(t, "bottles/sh.md", "agent_provider: {template: shell}\nruntime: "+holding)
		release := m.hold(t)
		c := h.attempt(t, "run", "sh", "--prompt", "true")
		within(t, patience, "there is a container, and it is being started", func() bool {
			_, err := os.Stat(m.dir + "/held")
			return err == nil
		})
		m.kill()
		release()
		failed(t, h, c, "start the container: ")
		m.revive(t, h)
	})
	for wire, c := range map[string]struct{ runtime, word string }{
		"socket": {"runc", "stopped by the operator"}, "stdio": {"runsc", "the engine does not answer"},
	} {
		t.Run("working, over "+wire, func(t *testing.T) {
			h, tag := hammering(t)
			h.env["DOCKER_HOST"] = m.host
			text, err := os.ReadFile(h.path("bottles/hammer.md"))
			if err == nil {
				err = os.WriteFile(h.path("bottles/hammer.md"), []byte(strings.Replace(string(text), "runtime: runc", "runtime: "+c.runtime, 1)), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			working := h.attempt(t, "run", "evil", "--bottle", "hammer", "--cwd", "--prompt", "x")
			flows := func() bool { return world.good.requests("/twin/"+tag) > 3 }
			within(t, patience, "the traffic flows", flows)
			e := only(t, h)
			remember(e)
			m.kill()
			if wire == "socket" {
				// The engine has no part in a bottle that runs: it works on, until the operator ends it.
				before := world.good.requests("/twin/" + tag)
				within(t, patience, "it works on", func() bool { return world.good.requests("/twin/"+tag) > before })
				if e := only(t, h); !e.Alive || e.State.String() != "running" {
					t.Errorf("list: %+v", e)
				}
				if r := h.run(t, "stop", e.ID.String(), "--grace", "0s"); r.code != 0 && !strings.Contains(r.errors, "error: ") {
					t.Errorf("stop: %v", r)
				}
			}
			failed(t, h, working, c.word)
			silent(t, tag)
			m.revive(t, h)
		})
	}
}

// attempt is a command under way.
type attempt struct {
	cmd  *exec.Cmd
	said *said
	done chan struct{} // closed when it has ended
}

func (h *home) attempt(t testing.TB, args ...string) *attempt {
	t.Helper()
	cmd, out := h.background(t, args...)
	a := &attempt{cmd, out, make(chan struct{})}
	go func() { // ends with the command, which the test bounds
		defer close(a.done)
		_ = cmd.Wait() // its code tells
	}()
	return a
}
