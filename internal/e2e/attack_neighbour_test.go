//go:build linux

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestF07BottleToBottle(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	one, two := h.bottle(t), h.bottle(t)
	abstract := "@f07-" + one.id
	for _, serve := range [][]string{{"listen", abstract, "/tmp/f07.sock", "/dev/shm/f07.sock", "1h"}, {"relay", "0.0.0.0:7777", "1h"}} {
		go func() { _, _ = one.order(background, nil, append([]string{"/workspace/evil"}, serve...)...) }() // told by what follows
	}
	sockets := []string{"unix", abstract, "/tmp/f07.sock", "/dev/shm/f07.sock"}
	within(t, patience, "benign twin: a bottle reaches itself", func() bool {
		got := evil[map[string]string](t, one, sockets...)
		return got["unix "+abstract] == "connected" && got["unix /tmp/f07.sock"] == "connected" && evil[talk](t, one, "tcp", "-timeout", "50ms", "127.0.0.1:7777").Connected
	})
	for name, got := range evil[map[string]string](t, two, sockets...) {
		if got == "connected" {
			t.Errorf("one bottle reaches the other's %s", name)
		}
	}
	for _, addr := range []string{"127.0.0.1:7777", "[::1]:7777", "127.0.1.1:7777"} {
		if got := evil[talk](t, two, "tcp", addr); got.Connected {
			t.Errorf("one bottle reaches the other's port by %s: %+v", addr, got)
		}
	}
	deniedByAddress(t, two, "172.17.0.2", 7777)
	deniedByName(t, two, one.id, 7777, one.id, "no rule of this bottle names the host "+one.id)
	// Files, System V memory and processes.
	one.do(t, "/bin/sh", "-c", "echo "+planted+" | tee /tmp/f07 /var/tmp/f07 /dev/shm/f07 /run/f07 /workspace/f07 /home/agent/f07")
	f := evil[finding](t, two, "find", one.id, "/tmp", "/var/tmp", "/dev/shm", "/run", "/workspace", "/home", "/etc")
	for _, hit := range f.Hits {
		if !strings.HasSuffix(hit, "/cmdline") { // the search itself
			t.Errorf("one bottle sees the other in %s", hit)
		}
	}
	for _, p := range []string{"/tmp/f07", "/dev/shm/f07", "/workspace/f07", one.dir + "/workspace/f07", "/proc/1/root" + one.dir} {
		if got := evil[map[string]content](t, two, "read", p)[p]; got.Error == "" {
			t.Errorf("one bottle reads the other's %s: %+v", p, got)
		}
	}
	for ns, mine := range evil[map[string]string](t, two, "who") {
		if ns == "ns user" && containers != nil || ns == "ns cgroup" && podman() || ownKernel() {
			continue // the ids below tell; Podman shows the names of groups; a kernel of their own gives both the same numbers
		}
		if strings.HasPrefix(ns, "ns ") && mine != "" && ns != "ns time" && ns != "ns time_for_children" && mine == evil[map[string]string](t, one, "who")[ns] {
			t.Errorf("both bottles have the %s %s", ns, mine)
		}
	}
	ids := [2]string{}
	for i, b := range []*sealed{one, two} {
		who := evil[map[string]string](t, b, "who")
		ids[i] = who["uid_map"] + who["Uid"]
	}
	if os.Geteuid() == 0 && ids[0] == ids[1] {
		t.Errorf("both bottles have the ids %s", ids[0])
	}
}

func TestF08Orchestrator(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	one, two := h.bottle(t), h.bottle(t)
	if r := h.run(t, "list", "--json"); r.code != 0 || strings.Count(r.out, `"alive": true`) != 2 {
		t.Errorf("benign twin: the operator reaches both wardens: %v", r)
	}
	names := []string{"unix", "/tmp/tmux-0/default", "/tmp/tmux-1000/default", "@tmux"}
	for _, b := range []*sealed{one, two} {
		for _, prefix := range []string{"", "/proc/1/root", "/proc/self/root", "/workspace/..", "/home/agent/.."} {
			names = append(names, prefix+b.dir+"/warden.sock")
		}
	}
	for name, got := range evil[map[string]string](t, one, names...) {
		if got == "connected" {
			t.Errorf("%s is reached", name)
		}
	}
	// A link in the workspace leads nowhere inside; on the host nobody follows it.
	o := one.do(t, "/bin/sh", "-c", "ln -s "+two.dir+"/warden.sock /workspace/w; ln -s ../warden.sock /workspace/v; ls -la /workspace/w /workspace/v")
	if o.Code != 0 {
		t.Errorf("make links: %+v", o)
	}
	for name, got := range evil[map[string]string](t, one, "unix", "/workspace/w", "/workspace/v") {
		if got == "connected" {
			t.Errorf("%s is reached", name)
		}
	}
	for _, host := range []string{"policy.local", "control.claude-bottle.local", "warden"} {
		deniedByName(t, one, host, 80, host, "no rule of this bottle names the host "+host)
	}
	// No descriptor of the agent's leads out: neither the wire nor a listener of the engine's.
	fds := one.do(t, "/bin/sh", "-c", "ls -l /proc/self/fd /proc/$PPID/fd | grep -c socket; exit 0")
	if strings.TrimSpace(fds.Stdout) != "0" {
		t.Errorf("sockets the agent was given: %+v", fds)
	}
	// The warden's socket is for its operator alone.
	for _, name := range []string{"", "warden.sock"} {
		fi, err := os.Stat(filepath.Join(one.dir, name))
		if err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s/%s: %v, %v", one.dir, name, fi, err)
		}
	}
}
