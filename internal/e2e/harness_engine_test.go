//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// engineVar has the tests run over a container engine instead of the native backend; it names one
// of kinds. The engines are those of scripts/engines.
const engineVar = "CLAUDE_BOTTLE_E2E_ENGINE"

// baseVar names the image, in every engine, that bottles are made of.
const baseVar = "CLAUDE_BOTTLE_TEST_BASE"

// kind is a way to run the same tests in containers.
type kind struct {
	name     string
	variable string // with the engine's address
	runtime  string // that bottles insist on
	// within: the tests start an engine of their own in the world, made like that one. It sees the
	// world's files, so that folders are shared and the wire is a unix socket. The others see none of
	// them: everything is copied, and the wire is standard input and output.
	within bool
	// machines: the engine only has the image, bottles are machines of a stand-in of smolvm's.
	machines bool
}

var kinds = []kind{
	{name: "docker", variable: dockerVar, runtime: "runc", within: true},
	{name: "carried", variable: dockerVar, runtime: "runc"},
	{name: "gvisor", variable: dockerVar, runtime: "runsc"},
	{name: "podman", variable: podmanVar, within: true},
	{name: "smolmachines", variable: dockerVar, machines: true},
}

// The stand-in of smolvm, and what is its alone. Its paths are short, since sockets lie there.
const (
	smolvmFile  = binDir + "/smolvm"
	smolvmData  = binDir + "/sv"
	smolvmCache = binDir + "/sv-cache"
)

const (
	dockerVar = "CLAUDE_BOTTLE_TEST_DOCKER"
	podmanVar = "CLAUDE_BOTTLE_TEST_PODMAN"
)

// containers is the engine all bottles run in; nil where they run natively.
var containers *engineInUse

// engineInUse is an engine with what the tests do to it behind claude-bottle's back.
type engineInUse struct {
	kind
	host   string // its address
	api    *client.Client
	own    *daemon         // nil where it is not the tests' own
	before map[string]bool // what others had in it
}

// chosenKind is the kind that the environment asks for. Without the engine there is nothing to test,
// which is said, and in CI an error.
func chosenKind() (k kind, skip bool, err error) {
	name := os.Getenv(engineVar)
	if name == "" {
		return k, false, nil
	}
	for _, k = range kinds {
		if k.name != name {
			continue
		}
		switch {
		case os.Getenv(k.variable) == "" || os.Getenv(baseVar) == "":
			why := fmt.Sprintf("%s and %s are not set: sudo scripts/engines up, then set what scripts/engines env prints", k.variable, baseVar)
			if os.Getenv("CI") != "" {
				return k, false, errors.New(why)
			}
			fmt.Println("e2e: skipped over " + name + ": " + why)
			return k, true, nil
		case (k.within || k.machines) && os.Geteuid() != 0:
			fmt.Println("e2e: skipped over " + name + ": an engine of our own needs root, and so do guests")
			return k, true, nil
		}
		return k, false, nil
	}
	return k, false, fmt.Errorf("%s=%s is no kind of engine", engineVar, name)
}

// openEngine makes the engine of that kind ready.
func openEngine(k kind) (*engineInUse, error) {
	if k.name == "" {
		return nil, nil
	}
	e := &engineInUse{kind: k, host: os.Getenv(k.variable)}
	if k.within {
		var err error
		if e.own, err = newDaemon("engine", k); err != nil {
			return nil, err
		}
		e.host = e.own.host
	}
	var err error
	if e.api, err = client.New(client.WithHost(e.host)); err != nil {
		return nil, err
	}
	e.before, err = e.labelled()
	return e, err
}

// close looks whether anything of ours is left, giving what is about to go a moment, and ends the
// engine if it is ours.
func (e *engineInUse) close() (err error) {
	if e == nil {
		return nil
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var now map[string]bool
		now, err = e.labelled()
		for what := range now {
			if !e.before[what] {
				err = errors.Join(err, fmt.Errorf("left in the engine: %s", what))
			}
		}
		if err == nil || time.Now().After(end) {
			break
		}
	}
	err = errors.Join(err, e.api.Close())
	if e.own != nil {
		err = errors.Join(err, e.own.stop())
	}
	return err
}

// warm packs the image that all machines are made of: the first launch takes seconds, as no later one.
func (e *engineInUse) warm() error {
	if e == nil || !e.machines {
		return nil
	}
	h, err := makeHome(nil)
	if err != nil {
		return err
	}
	err = errors.Join(h.write("agents/sh.md", "bottle: sh", ""), h.write("bottles/sh.md", "agent_provider: {template: shell}", ""))
	if err == nil {
		if r := h.call(context.Background(), "", "run", "sh", "--quiet", "--prompt", "true"); r.code != 0 {
			err = fmt.Errorf("the first machine: %v", r)
		}
	}
	return errors.Join(err, h.close())
}

// labelled is everything that was made for a bottle.
func (e *engineInUse) labelled() (map[string]bool, error) {
	all, err := labelled(e.api)
	if !e.machines {
		return all, err
	}
	cmd := exec.Command(smolvmFile, "machine", "ls", "--json")
	cmd.Env = []string{"SMOLVM_DATA_DIR=" + smolvmData}
	text, lerr := cmd.Output()
	var list []struct{ Name, State string }
	if lerr == nil {
		lerr = json.Unmarshal(text, &list)
	}
	for _, m := range list {
		all["machine "+m.Name+" ("+m.State+")"] = true
	}
	claims, _ := os.ReadDir(smolvmData + "/bottles") // not there is empty
	for _, c := range claims {
		all["claim on "+c.Name()] = true
	}
	return all, errors.Join(err, lerr)
}

func labelled(api *client.Client) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	filter := client.Filters{}.Add("label", "claude-bottle.id")
	out := map[string]bool{}
	boxes, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filter})
	for _, c := range boxes.Items {
		out["container "+strings.Join(c.Names, " ")+" ("+string(c.State)+")"] = true
	}
	volumes, verr := api.VolumeList(ctx, client.VolumeListOptions{Filters: filter})
	for _, v := range volumes.Items {
		out["volume "+v.Name] = true
	}
	images, ierr := api.ImageList(ctx, client.ImageListOptions{All: true, Filters: filter})
	for _, i := range images.Items {
		out["image "+i.ID] = true
	}
	return out, errors.Join(err, verr, ierr)
}

// settings are what an operator sets to have bottles in the engine.
func (e *engineInUse) settings() map[string]string {
	if e == nil {
		return nil
	}
	if e.machines {
		return map[string]string{
			"CLAUDE_BOTTLE_BACKEND": "smolmachines", "DOCKER_HOST": e.host, "CLAUDE_BOTTLE_IMAGE": os.Getenv(baseVar),
			"CLAUDE_BOTTLE_SMOLVM": smolvmFile, "CLAUDE_BOTTLE_SMOLVM_DATA": smolvmData, "XDG_CACHE_HOME": smolvmCache,
		}
	}
	return map[string]string{"CLAUDE_BOTTLE_BACKEND": "docker", "DOCKER_HOST": e.host, "CLAUDE_BOTTLE_IMAGE": os.Getenv(baseVar)}
}

// insist adds to a bottle's manifest the runtime that is tested. It comes last, so that what is
// wrong before it stays where it is.
func (e *engineInUse) insist(name, frontmatter string) string {
	if e == nil || e.runtime == "" || !strings.HasPrefix(name, "bottles/") || strings.Contains(frontmatter, "runtime:") {
		return frontmatter
	}
	return frontmatter + "\nruntime: " + e.runtime
}

// cork is the first process of a bottle's container.
func (e *engineInUse) cork(id string) (process, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	c, err := e.api.ContainerInspect(ctx, containerOf(id), client.ContainerInspectOptions{})
	if err != nil {
		return process{}, err
	}
	if s := c.Container.State; s == nil || s.Status != container.StateRunning {
		return process{}, fmt.Errorf("the container of %s does not run: %+v", id, s)
	}
	start, _, _ := stat(c.Container.State.Pid)
	return process{c.Container.State.Pid, start}, nil
}

func containerOf(id string) string { return "claude-bottle-" + id }

// corks are the first processes of a bottle: cork, or what stands for it on this host.
func corks(id string, warden int) []process {
	if containers == nil || machines() { // of which it is smolvm's command that runs cork
		return children(warden)
	}
	p, err := containers.cork(id)
	if err != nil {
		return nil // it has none
	}
	return []process{p}
}

// onlyNative leaves a test to the native run, for the reason that is given.
func onlyNative(t testing.TB, why string) {
	t.Helper()
	if containers != nil {
		t.Skip("left to the native run: " + why)
	}
}

// ownKernel reports whether bottles run on a kernel of their own, of whose processes and calls the
// host sees nothing.
func ownKernel() bool { return containers != nil && containers.runtime == "runsc" }

// machines reports whether bottles are machines, of whose processes the host sees nothing.
func machines() bool { return containers != nil && containers.machines }

// opaque reports whether the host sees none of the processes in a bottle.
func opaque() bool { return ownKernel() || machines() }

func podman() bool { return containers != nil && containers.variable == podmanVar }

// carried reports whether bottles work on copies of their folders, that come back at their end.
func carried() bool { return containers != nil && !containers.within }
