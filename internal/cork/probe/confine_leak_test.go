//go:build linux && leaktest

package probe_test

import (
	"os"
	"strings"
	"testing"
)

// With the holes that the leaky build can leave in a thread's confinement, each is caught by its
// own probes.
func TestConfinementLeaksAreCaught(t *testing.T) {
	t.Parallel()
	filtered := []string{"seccomp", "keyring", "tty-inject", "namespaces", "ptrace", "netlink-socket", "user-namespace"}
	// What of these a kernel has, and lets anybody use, differs. A user who is his own cork can
	// signal it when nothing filters that.
	perKernel := []string{
		"io-uring", "perf", "userfaultfd", "vsock-socket", "kernel-socket", "bpf", "icmp-socket", "kernel-log", "pid1-signal", "pid1-hidden",
	}
	for _, c := range []struct {
		leaks     []string
		want, may []string
		rootOnly  bool // a single mapped user has nothing else to be
	}{
		{leaks: []string{"no-seccomp"}, want: filtered, may: perKernel},
		// What was kept of them can be raised again, unless another user was become.
		{leaks: []string{"caps"}, want: []string{"capabilities"}, may: []string{"set-uid"}},
		{leaks: []string{"uid0"}, want: []string{"identity", "set-uid"}, may: []string{"pid1-hidden", "pid1-signal"}, rootOnly: true},
		// Without no_new_privs the kernel grants neither Landlock nor a filter.
		{leaks: []string{"no-nnp", "no-landlock", "no-seccomp"}, want: append([]string{"no-new-privs"}, filtered...), may: perKernel},
	} {
		if c.rootOnly && os.Getuid() != 0 {
			continue
		}
		t.Run(strings.Join(c.leaks, "+"), func(t *testing.T) {
			t.Parallel()
			r, bait := start(t, c.leaks...)
			expect(t, r, bait, c.want, c.may)
		})
	}
}
