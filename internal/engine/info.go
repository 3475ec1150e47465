package engine

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

// The kinds of engines.
const (
	Docker = "docker"
	Podman = "podman"
)

// Info is what an engine is and can do.
type Info struct {
	Kind       string // Docker or Podman
	Version    string // the engine's own
	APIVersion string // the one we speak with it
	OS, Arch   string // in Go's words: "linux", "amd64", "arm64"
	Kernel     string // its release
	// Rootless and UserNS: a container's root is not the root of the engine's host.
	Rootless, UserNS bool
	// Runtimes are the names that can be asked for, sorted: "runc", "runsc", "kata", "crun". On
	// Podman it is the default alone.
	Runtimes       []string
	DefaultRuntime string
	Cgroup         string // "1", "2", or "" where the engine does not say
	// BuildKit says that the engine's default builder is BuildKit.
	BuildKit bool
	// The limits that the engine can enforce.
	Memory, Swap, PIDs, CPU bool
	// Local says that the engine runs on this very Linux kernel and sees our file system. When in
	// doubt it is false: bottles work either way.
	Local bool
	// SharesUsers says that it is Local and a container's uid N is our uid N.
	SharesUsers bool
}

// describe is the part of an Info that the engine tells by itself.
func describe(ping client.PingResult, info system.Info, version client.ServerVersionResult) Info {
	limits := info.CgroupDriver != "none" // what a rootless engine without delegation says
	i := Info{
		Kind: Docker, Version: version.Version,
		OS: strings.ToLower(info.OSType), Arch: goArch(info.Architecture), Kernel: info.KernelVersion,
		Rootless:       slices.ContainsFunc(info.SecurityOptions, option("rootless")),
		UserNS:         slices.ContainsFunc(info.SecurityOptions, option("userns")),
		Runtimes:       slices.Sorted(maps.Keys(info.Runtimes)),
		DefaultRuntime: info.DefaultRuntime,
		Cgroup:         strings.TrimPrefix(info.CgroupVersion, "v"),
		BuildKit:       ping.BuilderVersion == build.BuilderBuildKit,
		Memory:         limits && info.MemoryLimit,
		Swap:           limits && info.SwapLimit,
		PIDs:           limits && info.PidsLimit,
		CPU:            limits && info.CPUCfsPeriod && info.CPUCfsQuota,
	}
	return i
}

// settle adds what only a look at this host can tell.
func (i *Info) settle(a address, info system.Info) {
	i.Local = a.scheme == "unix" && runtime.GOOS == "linux" && sameHost(info)
	i.SharesUsers = i.Local && !i.Rootless && !i.UserNS && initialUsers()
}

// sameHost reports whether the engine behind a unix socket is on this kernel and file system, and
// not behind a socket that is forwarded from elsewhere or was lent to the container we are in.
func sameHost(info system.Info) bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	// On WSL a desktop product's own distribution shares our kernel, and not our files.
	if strings.Contains(info.OperatingSystem, "Desktop") {
		return false
	}
	if info.KernelVersion != unix.ByteSliceToString(u.Release[:]) || info.Name != unix.ByteSliceToString(u.Nodename[:]) {
		return false
	}
	// An ordinary user may be kept from looking there, which says nothing.
	_, err := os.Stat(info.DockerRootDir)
	return path.IsAbs(info.DockerRootDir) && (err == nil || errors.Is(err, fs.ErrPermission))
}

// initialUsers reports whether this process has the kernel's own user ids.
func initialUsers() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && slices.EqualFunc(bytes.Fields(ids), []string{"0", "0", "4294967295"}, func(a []byte, b string) bool { return string(a) == b })
}

// option matches an entry of an engine's security options, as "name=rootless".
func option(name string) func(string) bool {
	return func(s string) bool {
		first, _, _ := strings.Cut(s, ",")
		return first == "name="+name || first == name
	}
}

// goArch is Go's word for a machine's: Docker says what uname does, Podman what Go does.
func goArch(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "i386", "i686":
		return "386"
	case "armv6l", "armv7l", "armv8l":
		return "arm"
	}
	return machine
}
