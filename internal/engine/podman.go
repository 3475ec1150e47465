package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"slices"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

// podmanInfo is what Podman tells in its own API alone. In Docker's words it leaves out that it is
// rootless, and claims limits that it then fails to set.
type podmanInfo struct {
	Host struct {
		CgroupControllers []string
		OCIRuntime        struct{ Name string }
		Security          struct{ Rootless bool }
	}
}

// podmanVersion is the version of Podman's own API, empty where the engine is not Podman.
func podmanVersion(components []system.ComponentVersion) string {
	for _, c := range components {
		if c.Name == "Podman Engine" {
			if v := c.Details["APIVersion"]; word(v, ".+-") {
				return v
			}
			return "4.0.0" // the first this was tried with
		}
	}
	return ""
}

// askPodman asks over a connection of its own.
func (e *Engine) askPodman(ctx context.Context, version string) (podmanInfo, error) {
	own := http.Client{CheckRedirect: client.CheckRedirect, Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dialer.dial(ctx) },
		DisableKeepAlives: true,
	}}
	host := client.DummyHost
	if e.dialer.addr.scheme == "tcp" {
		host = net.JoinHostPort(e.dialer.addr.host, e.dialer.addr.port)
		host += e.dialer.addr.path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v"+version+"/libpod/info", nil)
	if err != nil {
		return podmanInfo{}, err
	}
	resp, err := own.Do(req)
	if err != nil {
		return podmanInfo{}, err
	}
	defer resp.Body.Close() // nothing more is read from it
	if resp.StatusCode != http.StatusOK {
		return podmanInfo{}, fmt.Errorf("asked for /libpod/info, Podman answered %s", resp.Status)
	}
	var info podmanInfo
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFile)).Decode(&info); err != nil {
		return podmanInfo{}, fmt.Errorf("podman's /libpod/info: %w", err)
	}
	return info, nil
}

// podman corrects what describe was told in Docker's words.
func (i *Info) podman(p podmanInfo) {
	has := func(controller string) bool { return slices.Contains(p.Host.CgroupControllers, controller) }
	i.Kind = Podman
	i.Rootless = p.Host.Security.Rootless
	i.Memory, i.Swap = i.Memory && has("memory"), i.Swap && has("memory")
	i.PIDs, i.CPU = i.PIDs && has("pids"), i.CPU && has("cpu")
	// Podman lists what its configuration could name, installed or not, and runs every container
	// of the Docker API with its default, whatever is asked for.
	if p.Host.OCIRuntime.Name != "" {
		i.DefaultRuntime = p.Host.OCIRuntime.Name
	}
	i.DefaultRuntime = path.Base(i.DefaultRuntime) // it may be configured by its path
	i.Runtimes = []string{i.DefaultRuntime}
}
