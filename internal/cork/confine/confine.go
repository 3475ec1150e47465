//go:build linux

// Package confine takes from one thread everything a program of the agent must not have: other
// identities, capabilities, the right to gain privileges, files outside its own (Landlock) and
// system calls no coding agent needs (seccomp).
//
// The caller locks a goroutine to its thread, applies a Policy and starts programs from that
// thread alone: they inherit what is left of it. The rest of the process keeps its rights. The
// thread must never be given back:
//
//	go func() {
//		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
//		if _, err := confine.Apply(policy); err != nil { ... }
//		os.StartProcess(...)
//	}()
//
// Applying one policy once and starting everything from that thread is better than a thread per
// program: programs of one Landlock domain may signal each other, programs of two may not.
package confine

import (
	"fmt"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
)

// Policy is what a confined thread may still do.
type Policy struct {
	// UID and GID are who it becomes. Supplementary groups are dropped where the user namespace
	// permits dropping them.
	UID, GID uint32
	// PIDs bounds the processes and threads of UID in its user namespace; 0 leaves them as they
	// are. It becomes the soft RLIMIT_NPROC, which seccomp keeps from being raised again.
	PIDs uint64
	// Writable are the files and folders that may be changed; everything else can be read and
	// executed at most, as far as the mounts show it. A path that is missing is an error.
	Writable []string
	// Devices are folders whose device files take reads, writes and ioctls.
	Devices []string
}

// Standard is what an agent with these ids may do in any bottle: write in the temporary folders and
// adjust its own entries in /proc. The caller adds the folders that are the agent's.
func Standard(uid, gid uint32) Policy {
	return Policy{
		UID: uid, GID: gid,
		Devices:  []string{"/dev", "/proc"},
		Writable: []string{"/tmp", "/var/tmp", "/run", "/dev/shm"},
	}
}

// Report says what was reached.
type Report struct {
	// Landlock is the ABI in force; 0 when the kernel has none.
	Landlock int
}

// Apply confines the calling thread, which must be locked to its goroutine. It can't be undone.
// After an error the thread is in an unknown state between free and confined: end it, start
// nothing from it.
//
// RLIMIT_NPROC is the one exception to "this thread only": the kernel keeps rlimits per process.
// A caller that wants its own threads not to be bounded calls Unbound after starting a program.
func Apply(p Policy) (Report, error) {
	var r Report
	for _, s := range steps {
		if slices.ContainsFunc(s.holes, leak.On) {
			continue
		}
		if err := s.do(p, &r); err != nil {
			return r, fmt.Errorf("confine: %s: %w", s.name, err)
		}
	}
	return r, nil
}

// steps is the order of confinement. Each step needs a right that a later one takes: limits and
// identities need capabilities, the bounding set and the securebits need CAP_SETPCAP, Landlock
// and seccomp need either CAP_SYS_ADMIN or no_new_privs, and Landlock needs the system calls that
// seccomp denies nobody here but would have to allow otherwise. Seccomp is last so that nothing
// above has to be on its list. (A leaky build that leaves out no_new_privs leaves out the two that
// the kernel ties to it.)
var steps = []struct {
	name  string
	holes []string // what leaves it out in leaky builds
	do    func(Policy, *Report) error
}{
	{"rlimits", []string{"no-rlimits"}, func(p Policy, _ *Report) error { return limit(p.PIDs) }},
	{"bounding set", []string{"caps"}, func(Policy, *Report) error { return dropBounding() }},
	{"keep nothing through a change of user", []string{"caps"}, func(Policy, *Report) error { return lockSecurebits() }},
	{"groups, gid, uid", []string{"uid0"}, func(p Policy, _ *Report) error { return become(p.UID, p.GID) }},
	{"capabilities", []string{"caps"}, func(Policy, *Report) error { return dropCapabilities() }},
	{"no_new_privs", []string{"no-nnp"}, func(Policy, *Report) error { return noNewPrivs() }},
	{"landlock", []string{"no-landlock", "no-nnp"}, restrictFiles},
	{"seccomp", []string{"no-seccomp", "no-nnp"}, func(Policy, *Report) error { return filterSyscalls() }},
}
