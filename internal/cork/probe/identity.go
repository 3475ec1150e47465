//go:build linux

package probe

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// statusReads is the control of probes that read their own status: it names this very thread.
func statusReads(s *scene) finding {
	if s.status["Pid"] != strconv.Itoa(unix.Gettid()) {
		return unclear("/proc/thread-self/status does not tell of this thread")
	}
	return works("/proc/thread-self/status names this thread")
}

func noNewPrivs(s *scene) (attack, control finding) {
	control = statusReads(s)
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	switch {
	case err != nil:
		return unclear("prctl: " + errText(err)), control
	case set != 1 || s.status["NoNewPrivs"] != "1":
		return leaked("no_new_privs is not set"), control
	}
	return stopped("no_new_privs is set"), control
}

func seccompMode(s *scene) (attack, control finding) {
	control = statusReads(s)
	if s.status["Seccomp"] != "2" {
		return leaked("no seccomp filter is in force (mode " + strconv.QuoteToASCII(s.status["Seccomp"]) + ")"), control
	}
	return stopped("a seccomp filter is in force"), control
}

func capabilities(s *scene) (attack, control finding) {
	control = statusReads(s)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		v, ok := s.status[set]
		bits, err := strconv.ParseUint(v, 16, 64)
		if !ok || err != nil {
			return unclear(set + " can't be read"), control
		}
		if bits != 0 {
			return leaked(fmt.Sprintf("%s is %016x", set, bits)), control
		}
	}
	return stopped("all five capability sets are empty"), control
}

// identity expects an ordinary user in the bottle that is not root outside either.
func identity(s *scene) (attack, control finding) {
	control = statusReads(s)
	for _, ids := range []string{"Uid", "Gid"} {
		f := strings.Fields(s.status[ids])
		if len(f) != 4 {
			return unclear(ids + " can't be read"), control
		}
		if slices.Contains(f, "0") {
			return leaked(fmt.Sprintf("%s is %s: root in the bottle", ids, strings.Join(f, " "))), control
		}
	}
	if slices.Contains(strings.Fields(s.status["Groups"]), "0") {
		return leaked("group 0 is among the supplementary groups"), control
	}
	table, err := readFile("/proc/thread-self/uid_map", 1<<14)
	if err != nil {
		return unclear("uid_map: " + errText(err)), control
	}
	uid := uint64(unix.Getuid())
	outside, ok := mapped(string(table), uid)
	switch {
	case !ok:
		return unclear(fmt.Sprintf("uid %d is not in uid_map", uid)), control
	case outside == 0:
		return leaked(fmt.Sprintf("uid %d is root outside", uid)), control
	}
	return stopped(fmt.Sprintf("uid %d, outside %d", uid, outside)), control
}

// mapped translates a uid by the lines of a uid_map.
func mapped(table string, uid uint64) (outside uint64, ok bool) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		var n [3]uint64
		for i := range f {
			v, err := strconv.ParseUint(f[i], 10, 32)
			if err != nil {
				return 0, false
			}
			n[i] = v
		}
		if uid >= n[0] && uid-n[0] < n[2] {
			return n[1] + uid - n[0], true
		}
	}
	return 0, false
}

// limits expects bounds on processes and files, by rlimit or by a control group that can be seen.
func limits(s *scene) (attack, control finding) {
	var files, procs unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return unclear("getrlimit: " + errText(err)), unclear("getrlimit: " + errText(err))
	}
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &procs); err != nil {
		return unclear("getrlimit: " + errText(err)), unclear("getrlimit: " + errText(err))
	}
	control = works("getrlimit answers")
	if !s.req.Limits {
		return stopped("no limits were asked for"), control
	}
	if files.Max == unix.RLIM_INFINITY {
		return leaked("open files are not limited"), control
	}
	// Most hosts have some limit for everybody; the bottle's own is meant.
	if procs.Cur != unix.RLIM_INFINITY && (s.req.PIDs <= 0 || procs.Cur <= uint64(s.req.PIDs)) {
		return stopped(fmt.Sprintf("at most %d processes and %d open files", procs.Cur, files.Max)), control
	}
	for _, path := range []string{"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"} {
		b, err := readFile(path, 64)
		if err != nil {
			continue // not this version of control groups, or not shown in the bottle
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 63); err == nil && (s.req.PIDs <= 0 || n <= uint64(s.req.PIDs)) {
			return stopped(fmt.Sprintf("at most %d processes by %s", n, path)), control
		}
	}
	return leaked("processes are not limited"), control
}

// hostProcesses expects a /proc of the bottle's own process namespace: PID 1 is cork, this is its
// process or a child, and no kernel thread is seen.
func hostProcesses(s *scene) (attack, control finding) {
	self, pid := "", os.Getpid()
	var buf [32]byte
	if n, err := unix.Readlink("/proc/self", buf[:]); err == nil {
		self = string(buf[:n])
	}
	control = statusReads(s)
	if self != strconv.Itoa(pid) {
		return leaked(fmt.Sprintf("/proc is of another process namespace: it calls process %d %q", pid, self)), control
	}
	first, err := readFile("/proc/1/comm", 64)
	if err != nil {
		return unclear("/proc/1/comm: " + errText(err)), control
	}
	own, err := readFile("/proc/self/comm", 64)
	if err != nil {
		return unclear("/proc/self/comm: " + errText(err)), control
	}
	if pid != 1 && (string(first) != string(own) || os.Getppid() != 1) {
		return leaked("PID 1 is " + firstLine(first) + ", and not cork"), control
	}
	names, err := list("/proc")
	if err != nil {
		return unclear("/proc: " + errText(err)), control
	}
	seen := 0
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		seen++
		if n == 1 {
			continue
		}
		stat, err := readFile("/proc/"+name+"/stat", 512)
		if err != nil {
			continue // ended meanwhile
		}
		if parent, ok := parentOf(string(stat)); ok && parent == 0 {
			return leaked("a process that is not cork's descendant is seen: " + firstLine(stat)), control
		}
	}
	return stopped(fmt.Sprintf("PID 1 is cork; %d processes in sight", seen)), control
}

// parentOf reads the fourth field of a stat line; the second, in parentheses, may hold anything.
func parentOf(stat string) (int, bool) {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, false
	}
	f := strings.Fields(stat[i+1:])
	if len(f) < 2 {
		return 0, false
	}
	n, err := strconv.Atoi(f[1])
	return n, err == nil
}
