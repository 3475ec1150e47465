package smolmachines

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// aSpec is a bottle with a home and a workspace that hold something.
func (p place) aSpec(t *testing.T) backend.Spec {
	t.Helper()
	home, work := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "thesis"), []byte("years of work"), 0o644); err != nil {
		t.Fatal(err)
	}
	return backend.Spec{
		ID: newID(t), Dir: t.TempDir(), Hostname: "bottle", System: backend.System{Ref: small(t), Prebuilt: true}, Cache: t.TempDir(),
		Mounts: []backend.Mount{{Source: home, Target: backend.Home, Writable: true}, {Source: work, Target: backend.Workspace, Writable: true}},
		Limits: backend.Limits{PIDs: 256, Tmp: 16 << 20},
	}
}

func thesis(s backend.Spec) string { return filepath.Join(s.Mounts[1].Source, "thesis") }

func sh(t *testing.T, b backend.Bottle, script string) string {
	t.Helper()
	p, err := wire.Exec(t.Context(), b.Wire(), wire.Command{Argv: []string{"/bin/sh", "-ec", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Stdin.Close() // nothing is asked
	out, _ := io.ReadAll(p.Stdout)
	said, _ := io.ReadAll(p.Stderr)
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Fatalf("%s: %+v, %v: %s%s", script, exit, err, out, said)
	}
	return string(out)
}

// nothing checks that no machine, process, claim, socket or half artifact is left.
func (p place) nothing(t *testing.T) {
	t.Helper()
	b := p.backend()
	left, err := b.Found(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, l := range left {
		t.Errorf("left behind: %+v", l)
	}
	kept, err := b.Kept(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, k := range kept {
		if k.Waste {
			t.Errorf("left behind: %s", k.What)
		}
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		pids := p.Running()
		if len(pids) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("processes of machines run: %v", pids)
			break
		}
	}
	for _, dir := range []string{filepath.Join(p.vars["CLAUDE_BOTTLE_SMOLVM_DATA"], "run"), filepath.Join(p.vars["CLAUDE_BOTTLE_SMOLVM_DATA"], claimsDir)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
		}
	}
	artifacts, err := filepath.Glob(filepath.Join(b.cache(), "*"))
	if err != nil {
		t.Error(err)
	}
	for _, a := range artifacts {
		if strings.HasSuffix(a, ".lock") {
			t.Errorf("left behind: %s", a)
		}
	}
}

// verbs counts how often smolvm was asked for something.
func (p place) verbs(what string) (n int) {
	for _, c := range p.Calls() {
		if strings.HasPrefix(strings.Join(c.Argv, " "), what) {
			n++
		}
	}
	return n
}

func (p place) artifacts(t *testing.T) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(p.backend().cache(), "*.smolmachine"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

func TestTwoLaunchesPackOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.Fault(smolvmtest.Faults{SlowPack: time.Minute}) // until the other one waits for it
	var all sync.WaitGroup
	said := make([]string, 2)
	for i := range said {
		spec := p.aSpec(t)
		all.Go(func() {
			var lines []string
			b, err := p.backend().Start(t.Context(), spec, func(l string) {
				lines = append(lines, l)
				if strings.Contains(l, "waiting for another launch") {
					p.Fault(smolvmtest.Faults{})
				}
			})
			if err != nil {
				t.Error(err)
				return
			}
			said[i] = strings.Join(lines, "\n")
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := p.verbs("pack create"); n != 1 || p.artifacts(t) != 1 {
		t.Errorf("packed %d times, %d artifacts", n, p.artifacts(t))
	}
	if text := strings.Join(said, "\n"); strings.Count(text, "waiting for another launch that is packing") != 1 || strings.Count(text, "packed "+small(t)+" in ") != 1 {
		t.Errorf("they said %s", text)
	}
	// The third finds it there, and asks the engine for nothing but which image it is.
	began := len(p.Calls())
	b, err := p.backend().Start(t.Context(), p.aSpec(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for _, c := range p.Calls()[began:] {
		if c.Argv[0] == "pack" || c.Argv[0] == "--version" {
			t.Errorf("a hit asks for %q", c.Argv)
		}
	}
	p.nothing(t)
	kept, err := p.backend().Kept(t.Context())
	if err != nil || len(kept) != 1 || kept[0].Waste || !strings.Contains(kept[0].What, small(t)) {
		t.Fatalf("kept: %+v, %v", kept, err)
	}
	if err := p.backend().Discard(t.Context(), kept[0].ID); err != nil || p.artifacts(t) != 0 {
		t.Errorf("discard: %v, %d are left", err, p.artifacts(t))
	}
	p.check(t)
}

// What goes wrong is said in words, and leaves nothing.
func TestWhatGoesWrongIsSaidAndLeavesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, c := range []struct {
		name   string
		faults smolvmtest.Faults
		words  []string
	}{
		{"a full disk while packing", smolvmtest.Faults{DiskFull: true}, []string{"smolvm pack create", "No space left"}},
		{"an artifact with a network", smolvmtest.Faults{PackNetwork: true}, []string{"asks for a network"}},
		{"an artifact for another processor", smolvmtest.Faults{PackArch: "linux/s390x"}, []string{"linux/s390x"}},
		{"", smolvmtest.Faults{}, nil}, // now there is one
		{"a full disk", smolvmtest.Faults{DiskFull: true}, []string{"smolvm machine create", "No space left"}},
		{"no KVM", smolvmtest.Faults{NoKVM: true}, []string{"smolvm machine start", "kvm"}},
		{"a guest that never answers", smolvmtest.Faults{StartTimeout: true}, []string{"smolvm machine start"}},
		{"a machine with a network", smolvmtest.Faults{Network: true}, []string{"not what was asked for", "it has a network"}},
		{"a database that is held", smolvmtest.Faults{DBBusy: true}, []string{"database"}},
		{"a connection that is lost", smolvmtest.Faults{ExecLost: 1}, nil},
	} {
		p.Fault(c.faults)
		spec := p.aSpec(t)
		b, err := p.backend().Start(t.Context(), spec, nil)
		if err == nil {
			_ = b.Stop(t.Context()) // what is tested is the start
		}
		p.Fault(smolvmtest.Faults{})
		if (err == nil) != (len(c.words) == 0) {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, w := range c.words {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, which does not say %q", c.name, err, w)
			}
		}
		if text, rerr := os.ReadFile(thesis(spec)); rerr != nil || string(text) != "years of work" {
			t.Errorf("%s: the workspace holds %q, %v", c.name, text, rerr)
		}
		if c.name == "a connection that is lost" {
			removeAll(t, p)
		}
		p.nothing(t)
	}
}

// removeAll is what cleanup does.
func removeAll(t *testing.T, p place) {
	t.Helper()
	b := p.backend()
	left, err := b.Found(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l.Running {
			t.Errorf("it is said to run: %+v", l)
		}
		if err := b.Remove(t.Context(), l.ID); err != nil {
			t.Error(err)
		}
	}
	kept, err := b.Kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		if k.Waste {
			if err := b.Discard(t.Context(), k.ID); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestWithoutASocketTheWireGoesAnotherWay(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.Fault(smolvmtest.Faults{NoSockets: true})
	spec := p.aSpec(t)
	b, err := p.backend().Start(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	sh(t, b, "echo more >> /workspace/thesis; head -c 30000000 /dev/zero > /home/agent/big")
	if notes := strings.Join(b.Report().Notes, "\n"); !strings.Contains(notes, "slower than a socket") {
		t.Errorf("its notes are %s", notes)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(thesis(spec)); err != nil || string(text) != "years of workmore\n" {
		t.Errorf("the workspace holds %q, %v", text, err)
	}
	p.nothing(t)
}

func TestOldVersionsAreRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.SetVersion("0.8.2")
	_, err := p.backend().Start(t.Context(), p.aSpec(t), nil)
	if !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), "0.8.2") || hint(err) == "" {
		t.Errorf("start: %v, hint %q", err, hint(err))
	}
	if _, err := p.backend().Describe(t.Context()); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("describe: %v", err)
	}
}

// A bottle whose machine does not answer keeps it at its end: what the agent did is there alone.
func TestWhatCannotComeHomeIsKept(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	spec := p.aSpec(t)
	b, err := p.backend().Start(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	sh(t, b, "echo more >> /workspace/thesis")
	p.Fault(smolvmtest.Faults{NoKVM: true, DBBusy: true})
	if err := b.Stop(t.Context()); err == nil {
		t.Error("it stopped without a word, and its files are in the machine")
	}
	p.Fault(smolvmtest.Faults{})
	found, err := p.backend().Found(t.Context())
	if err != nil || len(found) != 1 || found[0].ID != spec.ID || found[0].Running || !found[0].Brings {
		t.Errorf("found %+v, %v", found, err)
	}
	removeAll(t, p)
	if text, err := os.ReadFile(thesis(spec)); err != nil || string(text) != "years of workmore\n" {
		t.Errorf("the workspace holds %q, %v", text, err)
	}
	p.nothing(t)
}

// An archive is an image without an engine, and so is a machine made of it.
func TestAnArchiveNeedsNoEngine(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	api, err := client.New(client.WithHost(os.Getenv(engineVariable)))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	saved, err := api.ImageSave(t.Context(), []string{small(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	if err == nil {
		_, err = io.Copy(f, saved)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	p.vars["DOCKER_HOST"] = "unix:///nowhere/engine.sock"
	spec := p.aSpec(t)
	spec.System = backend.System{Ref: path, Prebuilt: true}
	b, err := p.backend().Start(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := sh(t, b, "cat /workspace/thesis"); got != "years of work" {
		t.Errorf("got %q", got)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	spec = p.aSpec(t)
	spec.System = backend.System{Ref: "claude-bottle:latest"}
	if _, err := p.backend().Start(t.Context(), spec, nil); err == nil || !strings.Contains(err.Error(), "no container engine to build it in") || hint(err) == "" {
		t.Errorf("an image that has to be built: %v, hint %q", err, hint(err))
	}
	p.nothing(t)
}

// holder starts a bottle in a process of its own, which holds it.
func (p place) holder(t *testing.T, spec backend.Spec) *exec.Cmd {
	t.Helper()
	told, err := json.Marshal(struct {
		Exe  string
		Spec backend.Spec
	}{os.Getenv(corkVariable), spec})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "hold", string(told))
	cmd.Env = append(os.Environ(), corkVariable+"="+os.Getenv(corkVariable))
	for name, value := range p.vars {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Whoever holds a bottle, and smolvm's own command, are killed at each step of a launch. What is left
// is found, and after a cleanup there is nothing.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	slow := smolvmtest.Faults{SlowPack: 1500 * time.Millisecond, SlowStart: 1500 * time.Millisecond}
	for _, c := range []struct {
		verb string
		// theirs kills smolvm's command too, ours is killed always.
		theirs bool
	}{
		{"pack create", false}, {"pack create", true},
		{"machine create", false}, {"machine create", true},
		{"machine start", false}, {"machine start", true},
		{"machine exec", false}, {"machine exec", true},
	} {
		p.Fault(slow)
		if c.verb == "pack create" {
			for _, a := range glob(t, filepath.Join(p.backend().cache(), "*.smolmachine")) {
				if err := os.Remove(a); err != nil {
					t.Fatal(err)
				}
			}
		}
		spec, began := p.aSpec(t), len(p.Calls())
		cmd := p.holder(t, spec)
		var theirs smolvmtest.Call
		until(t, "smolvm is asked for "+c.verb, func() bool {
			for _, call := range p.Calls()[began:] {
				if strings.HasPrefix(strings.Join(call.Argv, " "), c.verb) {
					theirs = call
					return true
				}
			}
			return false
		})
		time.Sleep(50 * time.Millisecond) // so that it has begun
		kill(t, cmd.Process.Pid)
		_ = cmd.Wait() // it was killed
		if c.theirs {
			kill(t, theirs.Pid)
		}
		// What smolvm is asked for it still does; what it doesn't know of yet, it will not be asked for.
		until(t, "smolvm's command ends", func() bool {
			for _, call := range p.Calls()[began:] {
				if call.Exit == -1 && syscall.Kill(call.Pid, 0) == nil {
					return false
				}
			}
			return true
		})
		p.Fault(smolvmtest.Faults{})
		removeAll(t, p)
		if text, err := os.ReadFile(thesis(spec)); err != nil || string(text) != "years of work" {
			t.Errorf("%s: the workspace holds %q, %v", c.verb, text, err)
		}
		p.nothing(t)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not so: %s", what)
		}
	}
}
