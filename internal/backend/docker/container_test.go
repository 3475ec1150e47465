package docker

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/engine"
)

// able is an engine that can enforce everything.
var able = engine.Info{Kind: engine.Docker, Cgroup: "2", Memory: true, Swap: true, PIDs: true, CPU: true, DefaultRuntime: "runc"}

// aShape is a container on this kernel, by a socket.
func aShape(t *testing.T, change ...func(*shape)) shape {
	t.Helper()
	spec := aSpec(t)
	s := shape{
		spec: spec, engine: able, image: "sha256:abc", labels: labelsOf(spec.ID),
		setup:  setup{Socket: wirePath, CorkUID: 2000, AgentUID: 1000, AgentGID: 1000, Writable: []string{backend.Home, backend.Workspace}},
		mounts: []mount.Mount{{Type: mount.TypeBind, Source: "/state/seal", Target: ownDir, ReadOnly: true}},
	}
	for _, f := range change {
		f(&s)
	}
	return s
}

func configs(t *testing.T, s shape) (*container.Config, *container.HostConfig) {
	t.Helper()
	c, h, err := s.configs()
	if err != nil {
		t.Fatal(err)
	}
	return c, h
}

func podman(s *shape)   { s.engine.Kind = engine.Podman }
func stdioed(s *shape)  { s.setup.Socket = "" }
func byGVisor(s *shape) { s.runtime, s.ownKernel = gvisor, true }
func carriedTo(s *shape) {
	s.setup.Own = s.setup.Writable
	stdioed(s)
}

var changes = map[string]func(*shape){
	"by a socket": func(*shape) {}, "on Podman": podman, "by standard files": stdioed, "on gVisor": byGVisor, "with copies": carriedTo,
	"without limits": func(s *shape) { s.spec.Limits = backend.Limits{} },
	"on an engine that limits nothing": func(s *shape) {
		s.engine = engine.Info{Kind: engine.Docker}
	},
}

func TestEveryContainerIsSealed(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aShape(t, change)
			c, h := configs(t, s)
			for claim, holds := range map[string]bool{
				"it has no network":                       h.NetworkMode == "none" && len(h.PortBindings) == 0 && !h.PublishAllPorts && len(h.Links) == 0 && len(h.ExtraHosts) == 0,
				"names are asked of cork":                 len(h.DNS) == 1 && h.DNS[0].String() == "127.0.0.1",
				"nobody can write to its root":            h.ReadonlyRootfs,
				"it has no right that it wasn't given":    slices.Equal(h.CapDrop, []string{"ALL"}) && !h.Privileged,
				"it gains none":                           slices.Contains(h.SecurityOpt, "no-new-privileges"),
				"no filter is switched off":               !slices.ContainsFunc(h.SecurityOpt, func(o string) bool { return strings.Contains(o, "unconfined") || strings.HasPrefix(o, "label") }),
				"it has no device":                        len(h.Devices)+len(h.DeviceRequests)+len(h.DeviceCgroupRules) == 0,
				"its memory is its own":                   h.IpcMode == container.IPCModePrivate,
				"its control groups are its own":          h.CgroupnsMode == container.CgroupnsModePrivate && h.CgroupParent == "",
				"it sees no process but its own":          h.PidMode == "" && h.UTSMode == "" && h.UsernsMode == "",
				"nothing of it is kept in a log":          h.LogConfig.Type == "none" && len(h.LogConfig.Config) == 0,
				"its image has nothing run beside us":     c.Healthcheck != nil && slices.Equal(c.Healthcheck.Test, []string{"NONE"}),
				"its image has no say who begins":         c.User == "0:0" && c.WorkingDir == "/",
				"its image has no say what begins":        slices.Equal(c.Entrypoint, []string{corkPath}) && len(c.Cmd) == 3 && c.Cmd[0] == backend.CorkCommand && c.Cmd[1] == Name,
				"nothing stands between cork and its end": h.Init != nil && !*h.Init,
				"no environment goes along":               len(c.Env) == 0,
				"it doesn't begin again":                  h.RestartPolicy == container.RestartPolicy{} && !h.AutoRemove,
				"no other container lends it anything":    len(h.VolumesFrom) == 0 && len(h.Binds) == 0 && len(c.Volumes) == 0,
				"what is mounted is what was laid out":    slices.EqualFunc(h.Mounts, s.mounts, func(a, b mount.Mount) bool { return a.Source == b.Source && a.Target == b.Target }),
				"its input is there for the wire alone":   c.OpenStdin == (s.setup.Socket == "") && c.StdinOnce == c.OpenStdin && c.AttachStdin == c.OpenStdin,
				"what it says is heard":                   c.AttachStdout && c.AttachStderr && !c.Tty,
				"it is called what the bottle is":         c.Hostname == "bottle" && c.Image == "sha256:abc",
				"the kernel kills it like any other":      h.OomScoreAdj == 0 && (h.OomKillDisable == nil || !*h.OomKillDisable),
			} {
				if !holds {
					t.Errorf("%s: not so", claim)
				}
			}
		})
	}
}

func TestCorkHasTheRightsItSetsUpWithAndNoOther(t *testing.T) {
	t.Parallel()
	want := []string{"NET_ADMIN", "NET_BIND_SERVICE", "SETUID", "SETGID", "SETPCAP", "KILL"}
	for name, change := range changes {
		_, h := configs(t, aShape(t, change))
		rights := want
		if name == "with copies" {
			rights = append([]string{"CHOWN"}, want...) // the volumes are root's to begin with
		}
		if !slices.Equal(h.CapAdd, rights) {
			t.Errorf("%s: %q, want %q", name, h.CapAdd, rights)
		}
	}
	if !slices.Equal(setupRights, want) {
		t.Errorf("making a container changed all others' rights to %q", setupRights)
	}
}

func TestIPv6IsSwitchedOnWhereThereAreSwitches(t *testing.T) {
	t.Parallel()
	_, h := configs(t, aShape(t))
	if h.Sysctls["net.ipv6.conf.all.disable_ipv6"] != "0" || h.Sysctls["net.ipv6.conf.lo.disable_ipv6"] != "0" || len(h.Sysctls) != 2 {
		t.Errorf("%v", h.Sysctls)
	}
	if _, h := configs(t, aShape(t, byGVisor)); len(h.Sysctls) > 0 {
		t.Errorf("on gVisor: %v", h.Sysctls)
	}
}

func TestTemporaryFoldersAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tmp  int64
		on   func(*shape)
		want string
	}{
		"a usual bound":   {64 << 20, changes["by a socket"], ",size=67108864,nr_inodes=16384"},
		"a narrow one":    {1 << 20, changes["by a socket"], ",size=1048576,nr_inodes=4096"},
		"a wide one":      {1 << 40, changes["by a socket"], ",size=1099511627776,nr_inodes=1048576"},
		"none":            {0, changes["by a socket"], ",nr_inodes=1048576"},
		"a usual, Podman": {64 << 20, podman, ",size=67108864"},
		"none, Podman":    {0, podman, ""},
	} {
		_, h := configs(t, aShape(t, c.on, func(s *shape) { s.spec.Limits.Tmp = c.tmp }))
		if got, want := slices.Sorted(maps.Keys(h.Tmpfs)), []string{"/dev/shm", "/run", "/tmp", "/var/tmp"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
		for dir, options := range h.Tmpfs {
			if want := "rw,nosuid,nodev,exec,mode=1777" + c.want; options != want {
				t.Errorf("%s: %s has %q, want %q", name, dir, options, want)
			}
		}
	}
}

func TestLimitsAreKeptOrSaidNotToBe(t *testing.T) {
	t.Parallel()
	all := backend.Limits{Memory: 1 << 30, PIDs: 200, CPUs: 1.5, Disk: 1 << 30, Tmp: 1 << 20}
	for _, c := range []struct {
		name                   string
		limits                 backend.Limits
		engine                 engine.Info
		memory, swap, pids, ns int64
		by, notes              []string
	}{
		{"all, on an able engine", all, able, 1 << 30, 1 << 30, 264, 1.5e9,
			[]string{"memory: cgroup v2 by the engine", "pids: cgroup v2 by the engine", "cpu: cgroup v2 by the engine", "disk: meter", "tmp: tmpfs"}, nil},
		{"all, where swap is not counted", all, engine.Info{Kind: engine.Docker, Cgroup: "1", Memory: true, PIDs: true, CPU: true}, 1 << 30, 0, 264, 1.5e9,
			[]string{"memory: cgroup v1 by the engine", "pids: cgroup v1 by the engine", "cpu: cgroup v1 by the engine", "disk: meter", "tmp: tmpfs"}, nil},
		{"all, on an engine that can't", all, engine.Info{Kind: engine.Docker}, 0, 0, 0, 0,
			[]string{"disk: meter", "tmp: tmpfs"}, []string{"can't limit memory", "can't limit pids", "can't limit cpu"}},
		{"none", backend.Limits{}, able, 0, 0, 0, 0, nil, nil},
		{"none, on Podman", backend.Limits{}, engine.Info{Kind: engine.Podman, Memory: true, Swap: true, PIDs: true, CPU: true}, 0, 0, 0, 0, nil, []string{"tmp files"}},
	} {
		s := aShape(t, func(s *shape) { s.spec.Limits, s.engine = c.limits, c.engine })
		_, h := configs(t, s)
		var pids int64
		if h.PidsLimit != nil {
			pids = *h.PidsLimit
		}
		if h.Memory != c.memory || h.MemorySwap != c.swap || pids != c.pids || h.NanoCPUs != c.ns {
			t.Errorf("%s: memory %d, with swap %d, pids %d, cpu %d", c.name, h.Memory, h.MemorySwap, pids, h.NanoCPUs)
		}
		by, notes := s.enforced()
		if !slices.Equal(by, c.by) || !slices.EqualFunc(notes, c.notes, strings.Contains) {
			t.Errorf("%s: kept by %q, notes %q", c.name, by, notes)
		}
	}
	gvisors := aShape(t, byGVisor, func(s *shape) { s.spec.Limits = all })
	if _, h := configs(t, gvisors); h.PidsLimit == nil || *h.PidsLimit != 200*kernelTasks+kernelSlack {
		t.Errorf("on gVisor: %v processes on the host", h.PidsLimit)
	}
	if _, notes := aShape(t, byGVisor).enforced(); !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, "tmp files") }) {
		t.Errorf("on gVisor: %q", notes)
	}
}

func TestAnImagesVolumesAreReadOnly(t *testing.T) {
	t.Parallel()
	s := aShape(t, func(s *shape) {
		s.mounts = append(s.mounts, mount.Mount{Type: mount.TypeBind, Source: "/work", Target: backend.Workspace})
		s.volumes = []string{"/data", "/tmp", "/var/lib/x/", backend.Workspace, ownDir}
	})
	_, h := configs(t, s)
	if len(h.Mounts) != len(s.mounts)+2 {
		t.Fatalf("%+v", h.Mounts)
	}
	for i, target := range []string{"/data", "/var/lib/x"} {
		m := h.Mounts[len(s.mounts)+i]
		if m.Target != target || m.Type != mount.TypeVolume || !m.ReadOnly || m.Source != containerName(s.spec.ID)+"-image-"+strconv.Itoa(i) || m.VolumeOptions.Labels[labelID] != s.spec.ID.String() {
			t.Errorf("%+v", m)
		}
	}
}

// Whoever may ask the engine sees a container's description, and so do its event log and backups.
func TestADescriptionTellsNoneOfTheBottlesAffairs(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		s := aShape(t, change)
		s.spec.Files = []backend.File{{Path: "/etc/ssl/ours.pem", Data: []byte("content-of-a-file")}}
		s.spec.System = backend.System{Ref: "agent:latest", Dockerfile: "/home/operator/Dockerfile", Base: "base:latest"}
		c, h := configs(t, s)
		text, err := json.Marshal([]any{c, h})
		if err != nil {
			t.Fatal(err)
		}
		for what, secret := range map[string]string{
			"the state folder": s.spec.Dir, "the cache": s.spec.Cache, "a file's content": "content-of-a-file", "the Dockerfile": "/home/operator",
		} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s: %s is told: %s", name, what, text)
			}
		}
		var order setup
		if err := json.Unmarshal([]byte(c.Cmd[2]), &order); err != nil || order.CorkUID != s.setup.CorkUID || order.Socket != s.setup.Socket {
			t.Errorf("%s: cork is told %q, %v", name, c.Cmd[2], err)
		}
	}
}

// An image may have labels like ours, of anybody's making: a crash's remains would be read by them.
func TestAnImageCanNotSpeakForUs(t *testing.T) {
	t.Parallel()
	id := newID(t)
	labels := labelsOf(id)
	for _, l := range []string{labelID, labelHost, labelLent, labelCarried} {
		if _, ok := labels[l]; !ok {
			t.Errorf("%s is left to the image", l)
		}
	}
	if labels[labelID] != id.String() || labels[labelLent] != "" || labels[labelCarried] != "" || !ours(labels) {
		t.Errorf("%v", labels)
	}
	for name, host := range map[string]string{"another's": "elsewhere", "nobody's": ""} {
		if ours(map[string]string{labelHost: host}) {
			t.Errorf("%s paths are ours", name)
		}
	}
	for _, c := range []struct {
		names []string
		id    string
		want  string
	}{
		{[]string{"/claude-bottle-" + id.String()}, id.String(), containerName(id)},
		{[]string{"claude-bottle-" + id.String() + "-stage"}, id.String(), stageName(id)},
		{[]string{"/other/alias", "/claude-bottle-" + id.String()}, id.String(), containerName(id)},
		{[]string{"/busy_hopper"}, id.String(), ""},
		{[]string{"/claude-bottle-" + newID(t).String()}, id.String(), ""},
		{[]string{"/claude-bottle-"}, "", ""},
		{[]string{""}, id.String(), ""},
		{nil, id.String(), ""},
	} {
		if got, ok := ownName(c.names, c.id); got != c.want || ok != (c.want != "") {
			t.Errorf("%q of %q is %q, %v", c.names, c.id, got, ok)
		}
	}
}
