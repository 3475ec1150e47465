package native

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/cgroup"
)

// Facts says whether and how well bottles run here, by reading files alone.
func Facts() backend.Facts { return factsFrom("/proc", os.Geteuid() == 0) }

func factsFrom(proc string, root bool) backend.Facts {
	f := backend.Facts{Name: Name}
	f.Why, f.Fix = obstacle(proc, root)
	f.Ready = f.Why == ""
	f.Limits = map[string]backend.Enforcement{
		"disk": {By: "meter"},
		"tmp":  {By: "tmpfs"},
	}
	layout, err := cgroup.Find()
	for limit, controller := range map[string]string{"memory": "memory", "pids": "pids", "cpus": "cpu"} {
		e := backend.Enforcement{}
		if err == nil {
			e.By, e.Note = layout.By(controller)
		} else {
			e.Note = err.Error()
		}
		if e.By == "" && limit == "pids" {
			e = backend.Enforcement{By: "rlimit"}
		}
		f.Limits[limit] = e
	}
	return f
}

// oldest is the kernel with mount attributes and idmapped mounts.
var oldest = [2]int{5, 12}

// obstacle says what stands in the way of the native backend and what to do about it.
func obstacle(proc string, root bool) (why, fix string) {
	setting := func(name string) string {
		b, err := os.ReadFile(proc + "/sys/" + name)
		if err != nil {
			return "" // this kernel has no such switch
		}
		return strings.TrimSpace(string(b))
	}
	release := setting("kernel/osrelease")
	if v, ok := version(release); ok && (v[0] < oldest[0] || v[0] == oldest[0] && v[1] < oldest[1]) {
		return "this kernel is Linux " + release,
			fmt.Sprintf("use Linux %d.%d or newer, or another backend", oldest[0], oldest[1])
	}
	if _, err := os.Stat(proc + "/self/ns/user"); err != nil {
		return "this kernel has no user namespaces", "use a kernel built with CONFIG_USER_NS, or another backend"
	}
	if setting("user/max_user_namespaces") == "0" {
		return "user namespaces are switched off", "sudo sysctl -w user.max_user_namespaces=10000"
	}
	if root {
		if !ownsIDs(proc) {
			return "you are root of a container that has no user ids of its own to give to a bottle", "run claude-bottle as an ordinary user of the container"
		}
		return "", ""
	}
	if setting("kernel/unprivileged_userns_clone") == "0" {
		return "user namespaces are for root only on this host", "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	}
	if setting("kernel/apparmor_restrict_unprivileged_userns") == "1" {
		return "AppArmor keeps user namespaces from ordinary programs on this host",
			"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	}
	return "", ""
}

// ownsIDs reports whether the ids that root's bottles get exist in this user namespace: they do on
// a host, and don't where root is root of a smaller namespace only.
func ownsIDs(proc string) bool {
	b, err := os.ReadFile(proc + "/self/uid_map")
	if err != nil {
		return true // Start will tell
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		from, err1 := strconv.ParseInt(f[0], 10, 64)
		n, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 == nil && err2 == nil && from <= backend.FirstHostID && from+n > backend.LastHostID {
			return true
		}
	}
	return false
}

// version reads the first two numbers of a kernel release.
func version(release string) (v [2]int, ok bool) {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return v, false
	}
	for i := range v {
		n, err := strconv.Atoi(strings.TrimRight(parts[i], "-+abcdefghijklmnopqrstuvwxyz"))
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}
