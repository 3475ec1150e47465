//go:build linux

package probe_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// newRoot covers a folder every host has; nothing on the host changes.
const newRoot = "/tmp"

// mount is one step towards the bottle's file system.
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// raise builds the file system of a miniature bottle and moves into it.
func raise(o order) error {
	if err := do(mount{target: "/", flags: unix.MS_REC | unix.MS_PRIVATE}, mount{"none", newRoot, "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"}); err != nil {
		return err
	}
	for _, dir := range []string{"proc", "dev", "etc", "home/agent", "workspace", "tmp", "sys", "usr/bin", "var"} {
		if err := os.MkdirAll(filepath.Join(newRoot, dir), 0o755); err != nil {
			return err
		}
	}
	for path, text := range map[string]string{"etc/passwd": "agent:x:1000:1000::/home/agent:/bin/sh\n", "etc/resolv.conf": "nameserver 10.0.0.53\n"} {
		if err := os.WriteFile(filepath.Join(newRoot, path), []byte(text), 0o644); err != nil {
			return err
		}
	}
	steps := []mount{}
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		steps = append(steps, bind("/dev/"+d, newRoot+"/dev/"+d))
	}
	if o.leaks("device") {
		steps = append(steps, bind("/dev/kmsg", newRoot+"/dev/kmsg"))
	}
	for _, s := range steps {
		if err := os.WriteFile(s.target, nil, 0o644); err != nil {
			return err
		}
	}
	if o.leaks("host-proc") {
		steps = append(steps, mount{source: "/proc", target: newRoot + "/proc", flags: unix.MS_BIND | unix.MS_REC})
	} else {
		steps = append(steps, mount{"proc", newRoot + "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""})
	}
	for _, dir := range []string{"tmp", "home/agent", "workspace"} {
		steps = append(steps, mount{"none", newRoot + "/" + dir, "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=777"})
	}
	if o.leaks("sys-writable") {
		steps = append(steps, mount{"sysfs", newRoot + "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""})
	}
	if err := do(steps...); err != nil {
		return err
	}
	if err := maskProc(o); err != nil {
		return err
	}
	if err := plant(o); err != nil {
		return err
	}
	return enter(!o.leaks("root-writable"))
}

// maskProc closes what a bottle's /proc must not show or let write.
func maskProc(o order) error {
	if !o.leaks("proc-unmasked") {
		for _, f := range []string{"kcore", "keys", "timer_list", "latency_stats", "sched_debug", "kpagecount", "kpageflags", "interrupts"} {
			path := newRoot + "/proc/" + f
			if _, err := os.Lstat(path); err != nil {
				continue // this kernel has none
			}
			if err := do(bind("/dev/null", path)); err != nil {
				return err
			}
		}
	}
	if o.leaks("proc-writable") {
		return nil
	}
	const readOnly = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, f := range []string{"sys", "irq", "bus", "sysrq-trigger"} {
		path := newRoot + "/proc/" + f
		if _, err := os.Lstat(path); err != nil {
			continue // this kernel has none
		}
		if err := do(bind(path, path), mount{target: path, flags: readOnly}); err != nil {
			return err
		}
	}
	return nil
}

// plant puts what is the host's where the bottle sees it.
func plant(o order) error {
	if o.leaks("host-file") {
		path := newRoot + o.Request.HostFiles[0]
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(o.Request.HostNonce), 0o644); err != nil {
			return err
		}
	}
	sockets := map[string]string{"engine-socket": "/var/run/docker.sock", "host-socket": o.Request.HostUnix[0]}
	for leak, path := range sockets {
		if !o.leaks(leak) {
			continue
		}
		// In the bottle's own /tmp or /var: made here, it is there after the move.
		if err := os.MkdirAll(newRoot+filepath.Dir(path), 0o755); err != nil {
			return err
		}
		l, err := net.Listen("unix", newRoot+path)
		if err != nil {
			return err
		}
		if err := os.Chmod(newRoot+path, 0o666); err != nil {
			return err
		}
		keep = append(keep, l)
	}
	return nil
}

// keep holds listeners for the life of the process.
var keep []any

// enter makes the new root the only one there is.
func enter(readOnly bool) error {
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if !readOnly {
		return os.Chmod("/usr/bin", 0o777)
	}
	return do(mount{target: "/", flags: unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV})
}

func bind(from, to string) mount { return mount{source: from, target: to, flags: unix.MS_BIND} }

func do(steps ...mount) error {
	for _, s := range steps {
		if err := unix.Mount(s.source, s.target, s.kind, s.flags, s.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", s.source, s.target, err)
		}
	}
	return nil
}
