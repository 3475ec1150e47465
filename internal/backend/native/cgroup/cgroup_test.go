//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// host is a made-up host: a folder with a proc and the hierarchies its mountinfo names.
type host struct {
	t    *testing.T
	root string
}

func newHost(t *testing.T, own string, mounts ...string) host {
	h := host{t, t.TempDir()}
	h.write("proc/cgroup", "1:name=systemd:/\n0::"+own+"\n")
	h.write("proc/mountinfo", strings.ReplaceAll(strings.Join(mounts, "\n"), "ROOT", h.root)+"\n")
	return h
}

func (h host) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		h.t.Fatal(err)
	}
}

func (h host) find() Layout {
	h.t.Helper()
	l, err := find(filepath.Join(h.root, "proc"))
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

const (
	v1Memory = "40 30 0:30 / ROOT/memory rw,nosuid - cgroup cgroup rw,memory"
	v1CPU    = "41 30 0:31 / ROOT/cpu\\040and rw - cgroup cgroup rw,cpu,cpuacct"
	v1Other  = "42 30 0:32 / ROOT/freezer rw shared:9 - cgroup cgroup rw,freezer"
	v2       = "43 30 0:33 / ROOT/unified rw - cgroup2 cgroup2 rw"
)

func TestVersion1(t *testing.T) {
	t.Parallel()
	h := newHost(t, "/", v1Memory, v1CPU, v1Other)
	for _, d := range []string{"memory/x", "cpu and/x", "freezer/x"} {
		h.write(d, "")
	}
	l := h.find()
	want := map[string]string{"memory": h.root + "/memory", "cpu": h.root + "/cpu and"}
	if !maps.Equal(l.v1, want) || l.v2 != "" {
		t.Errorf("found %v and %q", l.v1, l.v2)
	}
	if by, why := l.By("pids"); by != "" || why == "" {
		t.Errorf("pids by %q because %q", by, why)
	}
}

func TestVersion2OfRoot(t *testing.T) {
	t.Parallel()
	h := newHost(t, "/user.slice", v2)
	h.write("unified/cgroup.procs", "")
	h.write("unified/cgroup.controllers", "cpuset cpu io memory pids\n")
	l := h.find()
	if l.v2 != h.root+"/unified" {
		t.Errorf("groups go to %q", l.v2)
	}
	for _, c := range controllers {
		if by, _ := l.By(c); by != "cgroup v2" {
			t.Errorf("%s by %q", c, by)
		}
	}
}

// What systemd delegates to a user: the groups below user@1000.service, of which the highest counts.
func TestVersion2Delegated(t *testing.T) {
	t.Parallel()
	h := newHost(t, "/user.slice/user@1000.service/app.slice/run.scope", v2)
	for _, d := range []string{"user@1000.service/", "user@1000.service/app.slice/", "user@1000.service/app.slice/run.scope/"} {
		h.write("unified/user.slice/"+d+"cgroup.procs", "")
	}
	h.write("unified/user.slice/user@1000.service/cgroup.controllers", "memory pids\n")
	l := h.find()
	if want := h.root + "/unified/user.slice/user@1000.service"; l.v2 != want {
		t.Errorf("groups go to %q, want %q", l.v2, want)
	}
	if by, _ := l.By("memory"); by != "cgroup v2" {
		t.Errorf("memory by %q", by)
	}
	if by, why := l.By("cpu"); by != "" || why == "" {
		t.Errorf("cpu by %q because %q", by, why)
	}
}

// A login session is in a scope of root's: nothing is delegated to it.
func TestVersion2NotDelegated(t *testing.T) {
	t.Parallel()
	h := newHost(t, "/user.slice/session-2.scope", v2)
	h.write("unified/user.slice/session-2.scope/other", "")
	l := h.find()
	if by, why := l.By("memory"); l.v2 != "" || by != "" || !strings.Contains(why, "systemd-run") {
		t.Errorf("groups go to %q; memory by %q because %q", l.v2, by, why)
	}
}

// In a container's own view its processes sit at the top.
func TestVersion2Occupied(t *testing.T) {
	t.Parallel()
	h := newHost(t, "/", v2)
	h.write("unified/cgroup.type", "domain\n")
	h.write("unified/cgroup.procs", "1\n")
	h.write("unified/cgroup.controllers", "memory pids\n")
	h.write("unified/cgroup.subtree_control", "pids\n")
	l := h.find()
	if by, why := l.By("memory"); by != "" || why == "" {
		t.Errorf("memory by %q because %q", by, why)
	}
	if by, _ := l.By("pids"); by != "cgroup v2" {
		t.Errorf("pids by %q", by)
	}
}

// The two versions side by side, as systemd mounts them in hybrid mode: limits in version 1, the
// version 2 tree for killing alone.
func TestHybrid(t *testing.T) {
	t.Parallel()
	h := newHost(t, "/", v1Memory, v2)
	h.write("memory/x", "")
	h.write("unified/cgroup.procs", "")
	h.write("unified/cgroup.controllers", "hugetlb\n")
	l := h.find()
	if by, _ := l.By("memory"); by != "cgroup v1" || l.v2 == "" {
		t.Errorf("memory by %q, version 2 at %q", by, l.v2)
	}
}

func TestLimitsInFiles(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, s := range wanted(Limits{Memory: 5 << 20, PIDs: 7, CPUs: 1.5}) {
		for _, k := range slices.Concat(s.v1, s.v2) {
			got[k.file] = k.value
		}
	}
	want := map[string]string{
		"memory.limit_in_bytes": "5242880", "memory.memsw.limit_in_bytes": "5242880", "memory.max": "5242880", "memory.swap.max": "0",
		"pids.max": "7", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000", "cpu.max": "150000 100000",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := wanted(Limits{}); len(got) != 0 {
		t.Errorf("no limits set %v", got)
	}
	if got := wanted(Limits{CPUs: 1e-9})[0].v2[0].value; got != "1000 100000" {
		t.Errorf("next to nothing of a processor is %q", got)
	}
}

// A group on this host, where there are any to be had.
func TestGroup(t *testing.T) {
	t.Parallel()
	l, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("cgroup-test%d", os.Getpid()) // another run of the tests may have one, too
	g, err := l.Create(name, Limits{Memory: 64 << 20, PIDs: 10, CPUs: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Remove(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	if len(g.Enforced)+len(g.Notes) < len(controllers) {
		t.Errorf("enforced %v, notes %q: something is passed over in silence", g.Enforced, g.Notes)
	}
	cmd := exec.Command("/bin/sleep", "1000")
	err = g.Enter(func(unified *os.File) error {
		if unified != nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(unified.Fd())}
		}
		return cmd.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if len(g.dirs) > 0 {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "cgroup"))
		if err != nil || strings.Count(string(b), name) != len(g.dirs) {
			t.Errorf("%d groups, and the process is in: %s %v", len(g.dirs), b, err)
		}
		if _, err := l.Create(name, Limits{PIDs: 1}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second group of the name: %v", err)
		}
		if !slices.ContainsFunc(l.Names(), func(n Left) bool { return n.Name == name }) {
			t.Error("the group isn't found")
		}
	}
	if g.kill == "" {
		_ = cmd.Process.Kill() // where there is no version 2 its maker does that
	}
	if err := l.Open(name).Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(g.dirs) == 0 || g.v2 == "" {
		_ = cmd.Process.Kill() // it was in no group that could be killed
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the group's process lives")
	}
	for _, dir := range g.dirs {
		if exists(dir) {
			t.Errorf("%s is left", dir)
		}
	}
	// What a holder that was killed left is taken over.
	if _, err := l.Create(name, Limits{PIDs: 1}); err != nil {
		t.Error(err)
	}
	again, err := l.Create(name, Limits{PIDs: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func FuzzParseMount(f *testing.F) {
	for _, line := range []string{v1Memory, v1CPU, v1Other, v2, "", " - ", "a - b c d"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parseMount(line)
		if ok && (m.kind == "" || m.point == "") {
			t.Errorf("%q gives %+v", line, m)
		}
	})
}
