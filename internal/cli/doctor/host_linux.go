package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Host checks what the kernel gives an ordinary user. Executable is any program that ends at once
// with success when called with args: it is started in namespaces of its own, because only doing
// it tells whether a distribution's hardening lets it be done.
func Host(ctx context.Context, executable string, args ...string) []Check {
	return []Check{
		kernel(),
		namespaces(ctx, executable, args),
		landlock(),
		seccomp(),
		nftables(),
	}
}

func kernel() Check {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Check{"kernel", Fail, err.Error(), ""}
	}
	return Check{"kernel", OK, fmt.Sprintf("Linux %s, %s", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])), ""}
}

const namespacesName = "namespaces"

// namespaces starts executable in user and pid namespaces, and from there takes the other ones: the
// second step needs capabilities in the first, which is what AppArmor's
// restriction on Ubuntu takes away while the first still succeeds.
func namespaces(ctx context.Context, executable string, args []string) Check {
	cmd := exec.CommandContext(ctx, executable, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:    syscall.SIGKILL,
	}
	err := cmd.Run()
	if err == nil {
		return Check{namespacesName, OK, "user, mount, pid, net, ipc and uts namespaces can be made", ""}
	}
	return Check{namespacesName, Fail, "can't be made: " + err.Error(), namespacesFix(err, sysctl)}
}

// namespacesFix finds the switch that forbids namespaces; read returns a sysctl's value, empty
// when there is none.
func namespacesFix(err error, read func(name string) string) string {
	switch {
	case read("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n" +
			"to keep it: echo kernel.apparmor_restrict_unprivileged_userns=0 | sudo tee /etc/sysctl.d/60-claude-bottle.conf"
	case read("kernel/unprivileged_userns_clone") == "0":
		return "sudo sysctl -w kernel.unprivileged_userns_clone=1\n" +
			"to keep it: echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/60-claude-bottle.conf"
	case read("user/max_user_namespaces") == "0":
		return "sudo sysctl -w user.max_user_namespaces=15000\n" +
			"to keep it: echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/60-claude-bottle.conf"
	case errors.Is(err, syscall.EINVAL):
		return "this kernel was built without user namespaces (CONFIG_USER_NS)"
	default:
		return "if this is a container, it must be started with user namespaces allowed: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
	}
}

func sysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return "" // the kernel has no such switch
	}
	return strings.TrimSpace(string(b))
}

func landlock() Check {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return Check{"landlock", Warn, "not available: " + errno.Error(), "the bottle's second layer is off; it needs Linux 5.13 with landlock among the lsm= boot parameters"}
	}
	return Check{"landlock", OK, fmt.Sprintf("ABI %d", abi), ""}
}

func seccomp() Check {
	if avail := sysctl("kernel/seccomp/actions_avail"); strings.Contains(avail, "errno") {
		return Check{"seccomp", OK, avail, ""}
	}
	return Check{"seccomp", Fail, "the kernel has no seccomp filters", "use a kernel built with CONFIG_SECCOMP_FILTER"}
}

// nftables is looked for where the kernel would load it from: asking it directly would need a
// privilege.
func nftables() Check {
	if _, err := os.Stat("/proc/sys/net/netfilter"); err == nil {
		return Check{"nftables", OK, "the kernel has netfilter", ""}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		dir := "/lib/modules/" + unix.ByteSliceToString(u.Release[:])
		for _, list := range []string{"modules.builtin", "modules.dep"} {
			if b, err := os.ReadFile(dir + "/" + list); err == nil && strings.Contains(string(b), "/nf_tables.ko") {
				return Check{"nftables", OK, "the kernel can load it", ""}
			}
		}
	}
	return Check{"nftables", Warn, "not found; programs that ignore proxies reach ports 80 and 443 only", "sudo modprobe nf_tables nft_redir"}
}
