//go:build linux

package probe

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
)

// readable is the control of probes that read: a file every bottle has.
func readable() finding {
	b, err := readFile("/etc/passwd", 1<<16)
	if err != nil {
		return unclear("/etc/passwd: " + errText(err))
	}
	if !strings.Contains(string(b), ":") {
		return unclear("/etc/passwd holds no entry")
	}
	return works("/etc/passwd reads")
}

// writable is the control of probes that write: the folders the agent is meant to write in.
func writable() finding {
	for _, dir := range []string{backend.Home, backend.Workspace, "/tmp"} {
		if err := scratch(dir); err != nil {
			return unclear(dir + ": " + errText(err))
		}
	}
	return works("home, workspace and /tmp are writable")
}

// scratch makes a file in dir, writes to it and removes it.
func scratch(dir string) error {
	path := ownName(dir + "/.probe-")
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)                     // whether it was written is what counts
	defer func() { _ = unix.Unlink(path) }() // made a moment ago, in a folder of the agent's own
	_, err = unix.Write(fd, []byte("probe"))
	return err
}

// denies reports whether err is how a kernel says that something is not there or not allowed.
func denies(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.EPERM, unix.EROFS, unix.ENODEV, unix.ENXIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func hostFiles(s *scene) (attack, control finding) {
	control = readable()
	if len(s.req.HostFiles) == 0 {
		return unclear("no host file was given to try"), control
	}
	tries := 0
	for _, path := range s.req.HostFiles {
		for _, root := range []string{"", "/proc/1/root", "/proc/self/root", "/.."} {
			tries++
			b, err := readFile(root+path, 1<<16)
			switch {
			case s.hostSaid(b):
				return leaked(root + path + ": holds the host's nonce"), control
			case err == nil:
				return leaked(root + path + ": there is such a file"), control
			case !denies(err):
				return unclear(root + path + ": " + errText(err)), control
			}
		}
	}
	if f := hostTree(s); !f.ok {
		return f, control
	}
	return stopped(fmt.Sprintf("%d paths to host files, none readable; no mount shows the host's tree", tries)), control
}

// maxMounts bounds how many mounts are looked at; a bottle has some dozens.
const maxMounts = 1024

// hostTree looks for the host's files below every mount. They lie in a folder only their owner may
// enter, and the agent of a bottle of root's is nobody on the host: there, being refused entry to
// the folder is how it shows.
func hostTree(s *scene) finding {
	b, err := readFile("/proc/thread-self/mountinfo", 1<<20)
	if err != nil {
		return unclear("mountinfo: " + errText(err))
	}
	seen := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			return unclear("mountinfo can't be understood")
		}
		if seen++; seen > maxMounts {
			return unclear(fmt.Sprintf("more than %d mounts", maxMounts))
		}
		at := strings.TrimSuffix(f[4], "/")
		if unix.Access(at+"/", unix.X_OK) != nil {
			continue // a file, or a folder the agent can't look into: nothing shows below it
		}
		for _, path := range s.req.HostFiles {
			_, err := readFile(at+path, 1)
			switch {
			case err == nil, errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
				return leaked(at + path + ": the folder of the host's file is there")
			case !denies(err):
				return unclear(at + path + ": " + errText(err))
			}
		}
	}
	return stopped(fmt.Sprintf("%d mounts without it", seen))
}

func rootReadonly(s *scene) (attack, control finding) {
	control = s.writable()
	dirs := []string{"/", "/usr", "/usr/bin", "/usr/local/bin", "/lib", "/etc", "/var", "/opt", backend.Programs, "/root", "/boot"}
	for _, dir := range dirs {
		err := scratch(dir)
		switch {
		case err == nil:
			return leaked(dir + " is writable"), control
		case !denies(err):
			return unclear(dir + ": " + errText(err)), control
		}
	}
	for _, path := range []string{"/etc/passwd", "/etc/ld.so.preload", "/etc/resolv.conf"} {
		if f := notWritable(path); !f.ok {
			return f, control
		}
	}
	// As with /proc/sys: owners and modes are one lock, the mount is the other.
	if f := readOnlyMount("/"); !f.ok {
		return f, control
	}
	return stopped(fmt.Sprintf("%d system folders, none writable", len(dirs))), control
}

// notWritable opens path for writing, writes nothing, and expects to be stopped. The null device
// in its place is as good as a refusal.
func notWritable(path string) finding {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		if denies(err) {
			return stopped(path + ": " + errText(err))
		}
		return unclear(path + ": " + errText(err))
	}
	defer unix.Close(fd) // nothing was written
	if isNull(fd) {
		return stopped(path + ": masked")
	}
	return leaked(path + " opens for writing")
}

func isNull(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

func procSys(s *scene) (attack, control finding) {
	control = s.writable()
	paths := []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/kernel/sysrq",
		"/proc/sys/vm/drop_caches", "/proc/sys/vm/panic_on_oom", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/net/ipv4/ip_forward",
		"/proc/sys/net/ipv4/ping_group_range", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/bus/pci/devices",
	}
	for _, path := range paths {
		if f := notWritable(path); !f.ok {
			return f, control
		}
	}
	// Owners and modes are one lock; that the tree is mounted read-only is the other. gVisor has the
	// one alone, and the settings there are its own.
	if f := readOnlyMount("/proc/sys"); !f.ok && !confine.Sentry() {
		return f, control
	}
	return stopped(fmt.Sprintf("%d kernel settings, none opens for writing; /proc/sys is read-only", len(paths))), control
}

// readOnlyMount expects path to be absent or on a read-only mount.
func readOnlyMount(path string) finding {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	switch {
	case err != nil && denies(err):
		return stopped(path + ": " + errText(err))
	case err != nil:
		return unclear(path + ": " + errText(err))
	case st.Flags&unix.ST_RDONLY == 0:
		return leaked(path + " is mounted writable")
	}
	return stopped(path + " is read-only")
}

// procMasked tries to read what would tell about the host's kernel or its memory.
func procMasked(*scene) (attack, control finding) {
	control = readable()
	if b, err := readFile("/proc/thread-self/status", 64); err != nil || len(b) == 0 {
		control = unclear("/proc/thread-self/status can't be read")
	}
	paths := []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats", "/proc/sched_debug", "/proc/kpagecount", "/proc/kpageflags", "/proc/interrupts"}
	for _, path := range paths {
		b, err := readFile(path, 64)
		switch {
		case len(b) > 0:
			return leaked(path + " reads"), control
		case err != nil && !denies(err) && !errors.Is(err, unix.EINVAL):
			return unclear(path + ": " + errText(err)), control
		}
	}
	return stopped(fmt.Sprintf("%d windows into the kernel, none open", len(paths))), control
}

// sysReadonly expects /sys absent, empty or read-only, whatever the agent's uid could do in it.
func sysReadonly(s *scene) (attack, control finding) {
	control = s.writable()
	for _, path := range []string{"/sys", "/sys/fs/cgroup", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/firmware/efi/efivars"} {
		if f := readOnlyMount(path); f.leak {
			if err := scratch(path); err != nil && denies(err) && !kernelTree(path) {
				continue // an empty folder of the root file system, not the kernel's tree
			}
			return f, control
		} else if !f.ok {
			return f, control
		}
	}
	for _, path := range []string{"/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/cgroup.procs"} {
		if f := notWritable(path); !f.ok {
			return f, control
		}
	}
	return stopped("/sys is absent or read-only"), control
}

// kernelTree reports whether path is on a file system by which the kernel is configured.
func kernelTree(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return true // can't tell: the worse is assumed
	}
	switch st.Type {
	case unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.EFIVARFS_MAGIC:
		return true
	}
	return false
}
