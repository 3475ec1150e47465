package docker

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/engine"
)

// shape is everything a container is made from.
type shape struct {
	spec    backend.Spec
	setup   setup
	image   string // id
	runtime string // empty is the engine's default
	// ownKernel: the runtime's containers run on a kernel of their own, not on the host's.
	ownKernel bool
	mounts    []mount.Mount
	volumes   []string // folders that the image declares to be volumes
	labels    map[string]string
	engine    engine.Info
}

// setupRights are the capabilities cork starts with: to make routes and listeners in the container's
// own network, to become somebody else, to give the agent's identity to it, and to end it. The
// agent has none, and nobody has any that is not here.
var setupRights = []string{"NET_ADMIN", "NET_BIND_SERVICE", "SETUID", "SETGID", "SETPCAP", "KILL"}

func (s shape) rights() []string {
	if len(s.setup.Own) > 0 {
		return append([]string{"CHOWN"}, setupRights...)
	}
	return setupRights
}

// configs describes the container to the engine.
func (s shape) configs() (*container.Config, *container.HostConfig, error) {
	order, err := json.Marshal(s.setup)
	if err != nil {
		return nil, nil, err
	}
	stdin := s.setup.Socket == ""
	c := &container.Config{
		Image: s.image, Hostname: s.spec.Hostname, User: "0:0", WorkingDir: "/",
		Entrypoint: []string{corkPath}, Cmd: []string{backend.CorkCommand, Name, string(order)},
		Labels: s.labels,
		// The wire's end is the input's end, whoever brings it about.
		OpenStdin: stdin, StdinOnce: stdin, AttachStdin: stdin, AttachStdout: true, AttachStderr: true,
		// What an image would have the engine run beside us, it would run as root and unconfined.
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	no := false
	h := &container.HostConfig{
		NetworkMode: "none",
		DNS:         []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Sysctls:     s.sysctls(),
		CapDrop:     []string{"ALL"}, CapAdd: s.rights(),
		SecurityOpt:    s.security(),
		MaskedPaths:    masked(),
		ReadonlyPaths:  inProc(backend.FrozenFolders),
		ReadonlyRootfs: true, Tmpfs: s.temporary(), Mounts: slices.Concat(s.mounts, s.declared()),
		CgroupnsMode: container.CgroupnsModePrivate, IpcMode: container.IPCModePrivate,
		Runtime: s.runtime, Init: &no,
		// Standard output is the wire, or nothing: neither is anything to keep.
		LogConfig: container.LogConfig{Type: "none"},
		Resources: s.resources(),
	}
	return c, h, nil
}

// masked are the paths of the kernel's insides: every bottle's, and those engines mask by themselves.
func masked() []string {
	return append(inProc(backend.MaskedFiles, backend.MaskedFolders, []string{"timer_stats"}), "/sys/firmware", "/sys/devices/virtual/powercap")
}

// inProc returns paths of what lies in /proc.
func inProc(names ...[]string) []string {
	var out []string
	for _, n := range slices.Concat(names...) {
		out = append(out, path.Join("/proc", n))
	}
	return out
}

// declared are the image's own volumes. An engine makes them whether asked or not, and lets anybody
// write in them who may: here they are what the image has there, to be read.
func (s shape) declared() []mount.Mount {
	var out []mount.Mount
	for _, target := range s.volumes {
		target = path.Clean(target)
		if slices.Contains(temporaryFolders, target) || slices.ContainsFunc(s.mounts, func(m mount.Mount) bool { return m.Target == target }) {
			continue
		}
		out = append(out, mount.Mount{
			Type: mount.TypeVolume, Target: target, ReadOnly: true, // which takes a name
			Source:        containerName(s.spec.ID) + "-image-" + strconv.Itoa(len(out)),
			VolumeOptions: &mount.VolumeOptions{Labels: map[string]string{labelID: s.spec.ID.String()}},
		})
	}
	return out
}

// sysctls switches IPv6 on for the loopback device: engines switch it off for containers they give
// no IPv6 network, and connections to IPv6 addresses could then not be told from those to nowhere.
func (s shape) sysctls() map[string]string {
	if s.runtime == gvisor {
		return nil // it has a network of its own make, without these switches
	}
	return map[string]string{"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.lo.disable_ipv6": "0"}
}

// gvisor is the name gVisor's runtime is registered under.
const gvisor = "runsc"

// security leaves Podman its own filter of system calls, which is as good: it takes another one as
// a file of its host's only.
func (s shape) security() []string {
	out := []string{"no-new-privileges"}
	if s.engine.Kind == engine.Podman { // it knows masked paths as an option only
		return append(out, "mask="+strings.Join(masked(), ":"))
	}
	if p := profile(); p != "" {
		out = append(out, "seccomp="+p)
	}
	return out
}

var temporaryFolders = []string{"/tmp", "/var/tmp", "/run", "/dev/shm"}

// temporary are the folders anybody in the bottle may write in. Each inode takes kernel memory, so
// they are bounded also where bytes are not.
func (s shape) temporary() map[string]string {
	const (
		inodeBytes = 4096 // one for so many bytes allowed
		minInodes  = 4096
		maxInodes  = 1 << 20
	)
	options, inodes := "rw,nosuid,nodev,exec,mode=1777", int64(maxInodes)
	if tmp := s.spec.Limits.Tmp; tmp > 0 {
		options += fmt.Sprintf(",size=%d", tmp)
		inodes = min(max(tmp/inodeBytes, minInodes), maxInodes)
	}
	if s.engine.Kind == engine.Docker { // Podman knows no such option
		options += fmt.Sprintf(",nr_inodes=%d", inodes)
	}
	out := map[string]string{}
	for _, dir := range temporaryFolders {
		out[dir] = options
	}
	return out
}

// corkSlack is how many processes a container may have beside the agent's: cork's threads.
const corkSlack = 64

// A runtime with a kernel of its own counts the agent's processes itself, exactly. On the host it needs
// threads for each of them and for itself, and dies when it gets none (gVisor's systrap was seen
// to take 2.1 for each, and some 25 for itself): the control group is there for its escape alone.
const (
	kernelTasks = 4
	kernelSlack = 256
)

// resources are the limits of control groups. Limits of a process are cork's to set: engines differ
// in what they take.
func (s shape) resources() (r container.Resources) {
	l := s.spec.Limits
	if l.Memory > 0 && s.engine.Memory {
		r.Memory = l.Memory
		if s.engine.Swap {
			r.MemorySwap = l.Memory // together, so that there is no swap beside it
		}
	}
	if l.PIDs > 0 && s.engine.PIDs {
		n := l.PIDs + corkSlack
		if s.ownKernel {
			n = l.PIDs*kernelTasks + kernelSlack
		}
		r.PidsLimit = &n
	}
	if l.CPUs > 0 && s.engine.CPU {
		r.NanoCPUs = int64(l.CPUs * 1e9)
	}
	return r
}

// enforced says what keeps which limit, and what is not kept, in words.
func (s shape) enforced() (by, notes []string) {
	l := s.spec.Limits
	group := strings.TrimSpace("cgroup v" + s.engine.Cgroup + " by the engine")
	say := func(asked, can bool, what string) {
		switch {
		case asked && can:
			by = append(by, what+": "+group)
		case asked:
			notes = append(notes, "the engine can't limit "+what+" on its host: no such control group")
		}
	}
	say(l.Memory > 0, s.engine.Memory, "memory")
	say(l.PIDs > 0, s.engine.PIDs, "pids")
	say(l.CPUs > 0, s.engine.CPU, "cpu")
	if l.Disk > 0 {
		by = append(by, "disk: meter")
	}
	if l.Tmp > 0 {
		by = append(by, "tmp: tmpfs")
	}
	if s.engine.Kind == engine.Podman || s.runtime == gvisor {
		notes = append(notes, "tmp files: how many there are in temporary folders can't be limited here, only their size")
	}
	return by, notes
}
