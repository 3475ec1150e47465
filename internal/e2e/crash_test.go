//go:build linux

package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/state"
)

// hammering is a home whose agent "evil" does nothing but try every way out, with one that is open
// among them, where its tag is counted.
func hammering(t *testing.T) (h *home, tag string) {
	t.Helper()
	h = newHome(t)
	tag = filepath.Base(h.dir)
	h.manifest(t, "bottles/hammer.md", `agent_provider:
  template: shell
  command: [/workspace/evil, hammer, "http://ok.test/twin/`+tag+`/", "http://c2.test/`+planted+`", "tcp:`+c2Addr.String()+`:443", "udp:`+c2Addr.String()+`:53"]
env: {PLANTED: `+planted+`}
egress:
  routes:
    - {host: ok.test, plain: true}`)
	return h, tag
}

// family is a process with all its descendants.
func family(pid int) []process {
	start, _, _ := stat(pid)
	out := []process{{pid, start}}
	for _, c := range children(pid) {
		out = append(out, family(c.pid)...)
	}
	return out
}

// remember notes a bottle whose end is looked after once more when all tests have run.
func remember(e state.Entry) (all []process) {
	if e.Alive {
		all = family(e.WardenPID)
		if containers != nil { // natively cork is the warden's
			for _, c := range corks(e.ID.String(), e.WardenPID) {
				all = append(all, family(c.pid)...)
			}
		}
	}
	known.Lock()
	defer known.Unlock()
	known.ids = append(known.ids, e.ID.String())
	known.processes = append(known.processes, all...)
	return all
}

// dead waits until none of the processes is left.
func dead(t testing.TB, all []process) {
	t.Helper()
	var left []string
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		left = left[:0]
		for _, p := range all {
			if p.alive() {
				status, _ := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/status") // gone meanwhile tells as much
				left = append(left, string(status))
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still running of the bottle:\n%s", strings.Join(left, "\n"))
		}
	}
}

func kill(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %v to %d: %v", sig, pid, err)
	}
}

// In the middle of its traffic and with a terminal attached, one process after the other of a
// bottle is killed. The bottle is dead with it, or can be adopted; nothing gets out that must not;
// and every command says what is true.
func TestKilledWhileAttached(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		victim func(*person, state.Entry) int
		reason string // empty: the bottle lives on
	}{
		"command": {func(p *person, _ state.Entry) int { return children(p.shell())[0].pid }, ""},
		"warden":  {func(_ *person, e state.Entry) int { return e.WardenPID }, "its warden died"},
		"cork":    {func(_ *person, e state.Entry) int { return corks(e.ID.String(), e.WardenPID)[0].pid }, "from outside"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, tag := hammering(t)
			p := h.sit(t, 120, 30)
			p.says("claude-bottle start evil --bottle hammer --cwd --yes")
			within(t, patience, "the traffic flows", func() bool { return world.good.requests("/twin/"+tag) > 3 })
			e := only(t, h)
			all := remember(e)
			kill(t, c.victim(p, e), syscall.SIGKILL)
			if c.reason == "" {
				p.sees("Killed")
				e = adopted(t, h, tag)
			} else {
				p.sees("error: bottle "+e.ID.String()+" ended: ", c.reason, "at-home>")
			}
			dead(t, all)
			silent(t, tag)
			buried(t, h, e, c.reason)
		})
	}
}

// adopted takes up a bottle whose command was killed, and stops it.
func adopted(t *testing.T, h *home, tag string) state.Entry {
	t.Helper()
	e := only(t, h)
	if !e.Alive || e.State.String() != "running" {
		t.Fatalf("the bottle of a command that was killed: %+v", e)
	}
	before := world.good.requests("/twin/" + tag)
	within(t, patience, "it works on", func() bool { return world.good.requests("/twin/"+tag) > before })
	p := h.sit(t, 120, 30)
	p.says("claude-bottle attach evil")
	p.sees("attached to " + e.ID.String())
	if r := h.run(t, "stop", e.ID.String(), "--grace", "0s"); r.code != 0 {
		t.Errorf("stop: %v", r)
	}
	p.sees("at-home>", "error: bottle "+e.ID.String()+" ended: stopped by the operator")
	return e
}

// buried checks what every command says of a bottle that died, and that cleanup is the end of it.
func buried(t *testing.T, h *home, e state.Entry, reason string) {
	t.Helper()
	id, now := e.ID.String(), only(t, h)
	want := "failed"
	if reason == "" {
		want, reason = "stopped", "stopped by the operator"
	}
	if now.Alive || now.State.String() != want || !strings.Contains(now.Reason, reason) || now.Ended == nil {
		t.Errorf("list: %+v", now)
	}
	if r := h.run(t, "list", "--all"); !strings.Contains(r.out, id) || !strings.Contains(r.out, want) || !strings.Contains(r.out, reason) {
		t.Errorf("list: %v", r)
	}
	for _, verb := range []string{"attach", "stop"} {
		if r := h.run(t, verb, id); r.code != 3 || !strings.Contains(r.errors, reason) || !strings.Contains(r.errors, "claude-bottle logs "+id) {
			t.Errorf("%s: %v", verb, r)
		}
	}
	for _, flag := range []string{"--session", "--launch", "--audit"} {
		if r := h.run(t, "logs", id, flag); r.code != 0 || flag != "--session" && r.out == "" {
			t.Errorf("logs %s: %v", flag, r)
		}
	}
	if r := h.run(t, "cleanup", "-n"); r.code != 0 || !strings.Contains(r.out, id) {
		t.Errorf("cleanup -n: %v", r)
	}
	cleanUp(t, h)
	if r := h.run(t, "cleanup", "--yes"); r.code != 0 || !strings.Contains(r.errors, "nothing to clean up") {
		t.Errorf("cleanup once more: %v", r)
	}
}

// At any moment of a launch, command or warden may be killed. What is left is a bottle that runs,
// or one that says how it failed, or nothing.
func TestKilledInLaunch(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"command", "warden"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			h := shellHome(t)
			for i := range 8 {
				cmd := h.command(bounded(t), "start", "sh", "--yes", "--detach", "--label", strconv.Itoa(i))
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				pid := cmd.Process.Pid
				if victim == "warden" {
					within(t, patience, "the warden is known", func() bool { pid = h.newest(); return pid != 0 })
				}
				time.Sleep(time.Duration(i) * launchTime() / 8) // the moment is what is tested
				_ = syscall.Kill(pid, syscall.SIGKILL)          // it may have ended already
				_ = cmd.Wait()                                  // in whatever way it ended
			}
			h.settled(t)
			for _, e := range entries(t, h) {
				remember(e)
				if e.Problem != "" || e.Alive != (e.State.String() == "running") || !e.Alive && e.Reason == "" {
					t.Errorf("list: %+v", e)
				}
				if r := h.run(t, "logs", e.ID.String(), "--launch"); r.code != 0 {
					t.Errorf("logs --launch: %v", r)
				}
			}
			if r := h.run(t, "stop", "--all", "--grace", "0s"); r.code != 0 {
				t.Errorf("stop: %v", r)
			}
			cleanUp(t, h)
		})
	}
}

// launchTime is about what a launch takes.
func launchTime() time.Duration {
	switch {
	case containers == nil:
		return 50 * time.Millisecond
	case opaque():
		return 1500 * time.Millisecond
	}
	return 500 * time.Millisecond
}

// newest is a warden that lives and has written itself down; 0 as long as there is none.
func (h *home) newest() int {
	found, _ := filepath.Glob(h.path("state/*/" + state.MetadataFile)) // the pattern is good
	for _, path := range found {
		b := sealed{dir: filepath.Dir(path)}
		m, err := b.metadata()
		if _, state, _ := stat(m.WardenPID); err == nil && m.WardenPID != 0 && state != "" && state != "Z" {
			return m.WardenPID
		}
	}
	return 0
}

// settled waits until no bottle is being made any more. What a command left half-made counts as
// that for seconds, which are made to have passed once no process is left that could go on with it.
func (h *home) settled(t *testing.T) {
	t.Helper()
	since := time.Now()
	within(t, patience, "every launch has ended", func() bool {
		list := entries(t, h)
		half, _ := filepath.Glob(h.path("state/.*")) // the pattern is good
		for _, e := range list {
			if e.State.String() == "creating" {
				half = append(half, h.path("state/"+e.ID.String()+"/"+state.MetadataFile))
			}
		}
		if time.Since(since) > time.Second && !h.making(list) {
			for _, path := range half {
				_ = os.Chtimes(path, since.Add(-time.Hour), since.Add(-time.Hour)) // gone meanwhile is as good
			}
		}
		return len(half) == 0
	})
}

// making reports whether there is a process of the home's operator that may become the warden of a bottle
// and is none yet.
func (h *home) making(list []state.Entry) bool {
	for _, pid := range pids() {
		env, err := os.ReadFile("/proc/" + itoa(pid) + "/environ")
		if err != nil || !strings.Contains(string(env), "HOME="+h.path("user")+"\x00") {
			continue // another's, or gone
		}
		line, _ := os.ReadFile("/proc/" + itoa(pid) + "/cmdline") // gone meanwhile says nothing
		words := strings.Split(string(line), "\x00")
		known := slices.ContainsFunc(list, func(e state.Entry) bool { return e.Alive && e.WardenPID == pid })
		if len(words) > 1 && words[1] == "warden" && !known {
			return true
		}
	}
	return false
}

// A warden that is told to end, ends its bottle as a stop does.
func TestWardenIsTerminated(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	cmd, out := h.background(t, "run", "sh", "--prompt", "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
	within(t, patience, "the agent runs", func() bool { return strings.Contains(out.String(), "ready") })
	e := only(t, h)
	all := remember(e)
	kill(t, e.WardenPID, syscall.SIGTERM)
	err := cmd.Wait()
	if !strings.Contains(out.String(), "bye") {
		t.Errorf("the agent was not asked: %v: %s", err, out.String())
	}
	dead(t, all)
	if e := only(t, h); e.State.String() != "stopped" || !strings.Contains(e.Reason, "SIGTERM") {
		t.Errorf("list: %+v", e)
	}
}

// background starts claude-bottle and collects what it says, on both streams.
func (h *home) background(t testing.TB, args ...string) (*exec.Cmd, *said) {
	t.Helper()
	out := &said{}
	cmd := h.command(bounded(t), args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// Ctrl-C ends a launch; once the agent runs it is the agent's, and the second one the bottle's end.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		times  int
		code   int
		says   string
	}{
		"the agent ends":     {"trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done", 1, 5, "caught"},
		"the agent is deaf":  {"trap '' INT TERM; echo ready; while :; do sleep 0.05; done", 2, 0, "stopped by the operator"},
		"the agent is naive": {"echo ready; sleep 1000", 1, 130, "interrupted the agent; Ctrl-C again stops the bottle"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := shellHome(t)
			cmd, out := h.background(t, "run", "sh", "--prompt", c.script)
			within(t, patience, "the agent runs", func() bool { return strings.Contains(out.String(), "ready") })
			all := remember(only(t, h))
			for i := range c.times {
				kill(t, cmd.Process.Pid, syscall.SIGINT)
				within(t, patience, "it takes notice", func() bool {
					return strings.Contains(out.String(), []string{"interrupted the agent", "stopping the bottle"}[i])
				})
			}
			_ = cmd.Wait() // the code tells
			if code := cmd.ProcessState.ExitCode(); c.code != 0 && code != c.code || code == 0 || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d: %s", code, out.String())
			}
			dead(t, all)
			if e := only(t, h); e.Alive || e.State.String() != "stopped" {
				t.Errorf("list: %+v", e)
			}
		})
	}
	t.Run("the launch", func(t *testing.T) {
		t.Parallel()
		h := shellHome(t)
		for range 5 {
			cmd, out := h.background(t, "run", "sh", "--prompt", "sleep 1000")
			var all []process
			within(t, patience, "the launch has begun", func() bool {
				if pid := h.newest(); pid != 0 {
					all = family(pid)
				}
				return len(all) > 0
			})
			kill(t, cmd.Process.Pid, syscall.SIGINT)
			err := cmd.Wait()
			if _, exited := errors.AsType[*exec.ExitError](err); !exited || !strings.Contains(out.String(), "interrupted") {
				t.Errorf("%v: %s", err, out.String())
			}
			dead(t, all)
			if r := h.run(t, "cleanup", "--yes"); r.code != 0 { // when the agent was quicker
				t.Errorf("cleanup: %v", r)
			}
			h.empty(t)
		}
	})
}
