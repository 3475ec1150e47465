//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process is a process that is not mistaken for another one with the same number.
type process struct {
	pid   int
	start string // as /proc tells it
}

func (p process) alive() bool {
	start, state, _ := stat(p.pid)
	return start != "" && start == p.start && state != "Z"
}

// stat reads a process's start time, state and parent; all empty when there is none.
func stat(pid int) (start, state string, parent int) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", "", 0
	}
	// The name in parentheses may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return "", "", 0
	}
	parent, _ = strconv.Atoi(f[1])
	return f[19], f[0], parent
}

// children are the processes whose parent is pid.
func children(pid int) (out []process) {
	for _, p := range pids() {
		if start, _, parent := stat(p); parent == pid {
			out = append(out, process{p, start})
		}
	}
	return out
}

func pids() (out []int) {
	entries, _ := os.ReadDir("/proc") // always there
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// known is everything the tests have seen of bottles, to be gone at the end.
var known struct {
	sync.Mutex
	processes []process
	ids       []string
	users     []string
}

// track remembers a bottle's processes: warden, cork, agent.
func track(b *sealed) error {
	start, _, _ := stat(b.warden)
	first := corks(b.id, b.warden)
	if start == "" || len(first) == 0 {
		return fmt.Errorf("bottle %s: no warden %d with a cork", b.id, b.warden)
	}
	known.Lock()
	defer known.Unlock()
	known.ids = append(known.ids, b.id)
	known.processes = append(known.processes, process{b.warden, start})
	for _, c := range first {
		known.processes = append(append(known.processes, c), children(c.pid)...)
	}
	return nil
}

// surroundings are what a test run must leave as it was.
type surroundings struct{ mounts, tmp []string }

func lookAround() (s surroundings, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return s, err
	}
	s.mounts = strings.Split(string(b), "\n")
	entries, err := os.ReadDir("/tmp")
	for _, e := range entries {
		s.tmp = append(s.tmp, e.Name())
	}
	return s, err
}

// compare looks for what is left, giving what is about to go a moment.
func (s surroundings) compare() (err error) {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err = errors.Join(s.folders(), leftProcesses(), leftGroups(), leftListeners(), leftUsers()); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (s surroundings) folders() error {
	now, err := lookAround()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range now.mounts {
		if !slices.Contains(s.mounts, m) {
			errs = append(errs, fmt.Errorf("left mounted: %s", m))
		}
	}
	for _, f := range now.tmp {
		if !slices.Contains(s.tmp, f) {
			errs = append(errs, fmt.Errorf("left in /tmp: %s", f))
		}
	}
	return errors.Join(errs...)
}

func leftProcesses() error {
	known.Lock()
	defer known.Unlock()
	var errs []error
	for _, p := range known.processes {
		if p.alive() {
			errs = append(errs, fmt.Errorf("still running: process %d of a bottle", p.pid))
		}
	}
	ours, err := programFiles()
	for _, pid := range pids() {
		// Of processes that aren't ours to look into the tracked ones above tell. Files are compared
		// because another run of these tests has programs of the same names.
		exe, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/exe")
		if err == nil && slices.ContainsFunc(ours, func(f os.FileInfo) bool { return os.SameFile(f, exe) }) {
			line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
			errs = append(errs, fmt.Errorf("still running: process %d, %q", pid, line))
		}
	}
	errs = append(errs, err)
	return errors.Join(errs...)
}

func programFiles() (out []os.FileInfo, err error) {
	entries, err := os.ReadDir(binDir)
	for _, e := range entries {
		fi, statErr := os.Stat(filepath.Join(binDir, e.Name()))
		out, err = append(out, fi), errors.Join(err, statErr)
	}
	return out, err
}

// leftGroups looks for control groups named after bottles of ours.
func leftGroups() error {
	known.Lock()
	defer known.Unlock()
	var errs []error
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile, or not for us to see
		}
		for _, id := range known.ids {
			if d.IsDir() && strings.Contains(d.Name(), id) {
				errs = append(errs, fmt.Errorf("control group left: %s", path))
			}
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// leftListeners looks for sockets anybody could still connect to in the world.
func leftListeners() error {
	const (
		listening = "0A"
		accepting = "00010000" // __SO_ACCEPTCON, linux/net.h
	)
	var errs []error
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile("/proc/self/net/" + table)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 3 && f[3] == listening {
				errs = append(errs, fmt.Errorf("still listening: %s %s", table, f[1]))
			}
		}
	}
	b, err := os.ReadFile("/proc/self/net/unix")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		// An engine's end of a connection that we have closed counts to the world it came from, and
		// may live a moment longer: it accepts nothing.
		if f := strings.Fields(line); len(f) < 4 || f[3] != accepting {
			continue
		}
		if strings.Contains(line, "claude-bottle") || strings.Contains(line, "warden.sock") || strings.Contains(line, "bait") {
			errs = append(errs, fmt.Errorf("still listening: %s", strings.TrimSpace(line)))
		}
	}
	return errors.Join(errs...)
}

func leftUsers() error {
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	known.Lock()
	defer known.Unlock()
	for _, u := range known.users {
		if strings.Contains(string(b), u+":") {
			err = errors.Join(err, fmt.Errorf("user left: %s", u))
		}
	}
	return err
}
