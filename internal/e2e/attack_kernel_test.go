//go:build linux

package e2e_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// refusals are how the kernel says no; what it says otherwise came after it began to do it.
var refusals = []string{"EPERM", "ENOSYS", "EACCES"}

func TestF02ForbiddenCalls(t *testing.T) {
	t.Parallel()
	b := attacker(t, "kernel")
	tried := 0
	// A bottle of an ordinary user has one user alone: root can't even be named in it.
	ids := evil[map[string]string](t, b, "who")["uid_map"]
	for name, got := range evil[map[string]string](t, b, "syscall") {
		switch {
		case strings.HasPrefix(name, "ok "):
			if got != "done" {
				t.Errorf("benign twin %s: %s", name, got)
			}
		case strings.HasPrefix(name, "socket "): // B05's
		default:
			tried++
			noSuchUser := name == "setuid root" && got == "EINVAL" && !strings.HasPrefix(ids, "0 ") && !strings.Contains(ids, " 1 0 ")
			if !slices.Contains(refusals, got) && !noSuchUser {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	if tried < 50 {
		t.Errorf("only %d calls were tried", tried)
	}
	for name, got := range evil[map[string]string](t, b, "signal") {
		if strings.HasPrefix(name, "ok ") != (got == "done") {
			t.Errorf("%s: %s", name, got)
		}
	}
	// Process 1 shows nothing of itself.
	for path, got := range evil[map[string]content](t, b, "read", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/fd", "/proc/1/root", "/proc/1/cwd", "/proc/1/exe", "/proc/1/stack", "/proc/self/status") {
		if path == "/proc/self/status" {
			if got.Data == "" {
				t.Errorf("benign twin %s: %+v", path, got)
			}
		} else if got.Data != "" {
			t.Errorf("%s: %+v", path, got)
		}
	}
	// A set-uid program gains nothing.
	o := b.do(t, "/bin/sh", "-c", "cp /bin/sh /tmp/s && chmod 6755 /tmp/s && /tmp/s -c 'grep -E \"^Cap...:.*[1-9a-f]|^Uid:.0\" /proc/self/status'; rm /tmp/s")
	if strings.TrimSpace(o.Stdout) != "" {
		t.Errorf("a set-uid program: %+v", o)
	}
}

func TestF03TerminalInjection(t *testing.T) {
	t.Parallel()
	b := attacker(t, "kernel")
	got := evil[map[string]string](t, b, "tty")
	if got["ok own TCGETS"] != "done" {
		t.Errorf("benign twin: a terminal of its own: %v", got)
	}
	for _, call := range []string{"TIOCSTI", "TIOCSTI, high bit", "TIOCLINUX", "TIOCCONS", "TIOCSETD"} {
		if got["own "+call] != "EPERM" {
			t.Errorf("%s into its own terminal: %s", call, got["own "+call])
		}
	}
	// A headless agent has no controlling terminal to inject into at all.
	if got["controlling"] != "ENXIO" {
		t.Errorf("the controlling terminal: %v", got)
	}
}

func TestF04KernelFiles(t *testing.T) {
	t.Parallel()
	b := attacker(t, "kernel")
	paths := []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/binfmt_misc/register",
		"/proc/sys/kernel/yama/ptrace_scope", "/proc/sys/user/max_user_namespaces", "/proc/irq/default_smp_affinity", "/proc/bus/x", "/proc/kmsg",
		"/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/x",
		"/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/x", "/etc/passwd", "/etc/ld.so.preload", "/usr/bin/x", "/usr/bin/env", "/bin/sh", "/x", "/opt/x", "/home/x", "/var/x", "/proc/1/oom_score_adj",
	}
	for path, got := range evil[map[string]string](t, b, append([]string{"write"}, paths...)...) {
		if ownKernel() && (path == "/dev/net/tun" || path == "/dev/fuse") {
			continue // that kernel's own, in a network of its own
		}
		if got == "done" {
			t.Errorf("%s can be written", path)
		}
	}
	// In the place of these is the null device, or nothing.
	o := b.do(t, "/bin/sh", "-c", "for f in sysrq-trigger kcore timer_list keys key-users sched_debug; do [ ! -e /proc/$f ] || stat -c '%t:%T' /proc/$f; done")
	if o.Code != 0 || strings.Trim(o.Stdout, "1:3\n") != "" && !ownKernel() { // whose own hold nothing, as is read below
		t.Errorf("masked files are %+v", o)
	}
	// Of the kernel's own addresses there are none to be seen.
	if o := b.do(t, "/bin/sh", "-c", "cat /proc/kallsyms /proc/iomem /proc/modules 2>/dev/null | awk '{print $1, $6}' | tr -d '0x-' | grep -E '^ *[0-9a-f]+' | head -3"); o.Stdout != "" {
		t.Errorf("addresses of the kernel: %+v", o)
	}
	twins := []string{"/workspace/f04", "/home/agent/f04", "/tmp/f04", "/var/tmp/f04", "/dev/shm/f04", "/run/f04", "/dev/null", "/proc/self/oom_score_adj"}
	for path, got := range evil[map[string]string](t, b, append([]string{"write"}, twins...)...) {
		if got != "done" {
			t.Errorf("benign twin: %s can't be written: %s", path, got)
		}
	}
	for path, got := range evil[map[string]content](t, b, "read", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/timer_list", "/proc/sysrq-trigger", "/proc/interrupts", "/sys/firmware", "/sys/devices/virtual/powercap", "/root", "/etc/shadow", "/var/lib/docker", "/boot", "/srv", "/mnt", "/media") {
		if got.Data != "" {
			t.Errorf("%s shows %.200q", path, got.Data)
		}
	}
	// A container has a read-only /sys with its limits and its own devices in it; other bottles' is empty.
	own := map[string]string{"/sys": "", "/sys/fs/cgroup": "", "/sys/class/net": ""}
	switch {
	case ownKernel():
		own = nil // it shows what it made up
	case containers != nil && !machines():
		own = map[string]string{"/sys/class/net": "lo"}
	}
	for path, want := range own {
		if got := evil[map[string]content](t, b, "read", path)[path]; got.Data != want {
			t.Errorf("%s shows %+v", path, got)
		}
	}
	// No link the agent makes leads around a masked or read-only path.
	o = b.do(t, "/bin/sh", "-c", "ln -s /proc/sys/kernel/core_pattern /tmp/l; echo x > /tmp/l; echo x > /proc/self/root/proc/sys/kernel/core_pattern; echo x > /proc/thread-self/root/etc/passwd; cat /proc/self/root/proc/kcore | head -c 10; rm /tmp/l; true")
	if o.Stdout != "" || strings.Count(o.Stderr, "Read-only")+strings.Count(o.Stderr, "ermission denied")+strings.Count(o.Stderr, "cannot create") < 3 {
		t.Errorf("by way of links: %+v", o)
	}
}
