//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tmpVar names the folder that becomes the world's /tmp.
const tmpVar = "CLAUDE_BOTTLE_E2E_TMP"

// worldCommand is this binary again in new namespaces: its own network, its own mounts, and for an
// ordinary user a user namespace that says who they were before.
func worldCommand(tmp string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var args []string
	for _, a := range os.Args[1:] {
		// These are files in the /tmp that the world doesn't see.
		if !strings.HasPrefix(a, "-test.testlogfile=") && !strings.HasPrefix(a, "-test.gocoverdir=") {
			args = append(args, a)
		}
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), stageVar+"="+stageWorld, tmpVar+"="+tmp)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = newWorld()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return cmd, nil
}

// newWorld are the namespaces of a world, and the rights to set it up.
func newWorld() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		a.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN}
	}
	return a
}

// alone makes cmd run in a world in which nobody else has a port.
func alone(cmd *exec.Cmd) {
	cmd.Args = append([]string{"/proc/self/exe", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/proc/self/exe"
	cmd.Env = append(cmd.Env, stageVar+"="+stageAlone)
	cmd.SysProcAttr = newWorld()
}

// enterAlone is this binary as alone starts it.
func enterAlone() error {
	runtime.LockOSThread() // ambient capabilities are a thread's
	if err := everythingIsHere(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	// One more device, as a host has.
	if err := anyDevice(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	return fmt.Errorf("become the program: %w", unix.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

// enterWorld sets the world up and becomes the tests in it, without the rights this took.
func enterWorld() error {
	runtime.LockOSThread() // ambient capabilities are a thread's
	if err := everythingIsHere(); err != nil {
		return fmt.Errorf("network of the world: %w", err)
	}
	if err := ownFiles(os.Getenv(tmpVar)); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	env := []string{stageVar + "=" + stageTests, "TMPDIR=/tmp"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, stageVar+"=") && !strings.HasPrefix(kv, tmpVar+"=") && !strings.HasPrefix(kv, "TMPDIR=") {
			env = append(env, kv)
		}
	}
	// The binary itself may lie in the /tmp that is no longer seen.
	return fmt.Errorf("become the tests: %w", unix.Exec("/proc/self/exe", os.Args, env))
}

// anyDevice makes a network device of the first kind this kernel has.
func anyDevice() error {
	a := netlink.LinkAttrs{Name: "outside0"}
	var errs []error
	for _, l := range []netlink.Link{&netlink.Dummy{LinkAttrs: a}, &netlink.Veth{LinkAttrs: a, PeerName: "outside1"}, &netlink.Bridge{LinkAttrs: a}, &netlink.Ifb{LinkAttrs: a}} {
		err := netlink.LinkAdd(l)
		if err == nil {
			return netlink.LinkSetUp(l)
		}
		errs = append(errs, fmt.Errorf("%s device: %w", l.Type(), err))
	}
	return errors.Join(errs...)
}

// everythingIsHere makes every address of both families local to the world.
func everythingIsHere() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		_, dst, err := net.ParseCIDR(all)
		if err != nil {
			return err
		}
		route := netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST}
		if err := netlink.RouteAdd(&route); err != nil {
			return err
		}
	}
	if os.Geteuid() == 0 {
		return nil
	}
	// So that an ordinary user's capture server listens where servers do.
	return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
}

// ownFiles gives the world its /tmp and its name server.
func ownFiles(tmp string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := showPrograms(tmp); err != nil {
		return err
	}
	if err := unix.Mount(tmp, "/tmp", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("own /tmp: %w", err)
	}
	const conf = "/tmp/resolv.conf"
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.1\noptions timeout:10 attempts:2\n"), 0o644); err != nil {
		return err
	}
	err := unix.Mount(conf, "/etc/resolv.conf", "", unix.MS_BIND, "")
	if errors.Is(err, unix.ENOENT) {
		return nil // without that file programs ask 127.0.0.1 as well
	}
	return err
}
