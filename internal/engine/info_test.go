package engine

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

func TestPickRuntime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		info Info
		want string
		got  string
		err  []string // words of text and hint
	}{
		"the default":              {Info{Runtimes: []string{"runc"}}, "", "", nil},
		"gVisor where it is":       {Info{Runtimes: []string{"crun", "runc", "runsc"}}, "", "runsc", nil},
		"insisting":                {Info{Runtimes: []string{"crun", "runc", "runsc"}}, "crun", "crun", nil},
		"insisting on gVisor":      {Info{Runtimes: []string{"runc"}}, "runsc", "", []string{`"runsc" is not registered`, "runc", "runsc install"}},
		"insisting on another":     {Info{Runtimes: []string{"runc", "runsc"}}, "kata", "", []string{`"kata" is not registered`, "runc, runsc", "daemon.json"}},
		"hostile":                  {Info{Runtimes: []string{"runc"}}, "\x1b[2J", "", []string{`x1b[2J`}},
		"Podman's default":         {Info{Kind: Podman, DefaultRuntime: "crun", Runtimes: []string{"crun"}}, "crun", "crun", nil},
		"Podman obeys no other":    {Info{Kind: Podman, DefaultRuntime: "crun", Runtimes: []string{"crun"}}, "runsc", "", []string{"default, crun", "containers.conf"}},
		"Podman with gVisor in it": {Info{Kind: Podman, DefaultRuntime: "runsc", Runtimes: []string{"runsc"}}, "", "runsc", nil},
	} {
		got, err := c.info.PickRuntime(c.want)
		e, _ := errors.AsType[*RuntimeError](err)
		if got != c.got || (err == nil) != (c.err == nil) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.got)
			continue
		}
		for _, w := range c.err {
			if !strings.Contains(e.Error()+"\n"+e.Hint(), w) {
				t.Errorf("%s: %q is in neither of\n%s\n%s", name, w, e, e.Hint())
			}
		}
	}
}

// What engines that can't be had here say of themselves.
func TestDescribe(t *testing.T) {
	t.Parallel()
	limits := func(i system.Info) system.Info {
		i.MemoryLimit, i.SwapLimit, i.PidsLimit, i.CPUCfsPeriod, i.CPUCfsQuota = true, true, true, true, true
		return i
	}
	for name, c := range map[string]struct {
		ping client.PingResult
		info system.Info
		want Info
	}{
		"Docker Desktop on an ARM Mac": {
			client.PingResult{BuilderVersion: "2"},
			limits(system.Info{OSType: "linux", Architecture: "aarch64", CgroupVersion: "2", CgroupDriver: "cgroupfs", DefaultRuntime: "runc", Runtimes: map[string]system.RuntimeWithStatus{"runc": {}, "io.containerd.runc.v2": {}}}),
			Info{Kind: Docker, OS: "linux", Arch: "arm64", Cgroup: "2", BuildKit: true, DefaultRuntime: "runc", Runtimes: []string{"io.containerd.runc.v2", "runc"}, Memory: true, Swap: true, PIDs: true, CPU: true},
		},
		"rootless without delegation": {
			client.PingResult{BuilderVersion: "1"},
			limits(system.Info{OSType: "linux", Architecture: "x86_64", CgroupVersion: "1", CgroupDriver: "none", SecurityOptions: []string{"name=seccomp,profile=builtin", "name=rootless"}}),
			Info{Kind: Docker, OS: "linux", Arch: "amd64", Cgroup: "1", Rootless: true},
		},
		"remapped users, no swap accounting": {
			client.PingResult{},
			system.Info{OSType: "linux", Architecture: "riscv64", MemoryLimit: true, CPUCfsPeriod: true, SecurityOptions: []string{"name=userns"}},
			Info{Kind: Docker, OS: "linux", Arch: "riscv64", UserNS: true, Memory: true},
		},
		"Windows": {client.PingResult{}, system.Info{OSType: "windows", Architecture: "x86_64"}, Info{Kind: Docker, OS: "windows", Arch: "amd64"}},
	} {
		if got := describe(c.ping, c.info, client.ServerVersionResult{}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got\n%+v, want\n%+v", name, got, c.want)
		}
	}
}
