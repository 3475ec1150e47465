package smolvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// How long smolvm may take. Making a machine extracts its artifact the first time.
const (
	createLimit = 15 * time.Minute
	startLimit  = time.Minute
	stopLimit   = 30 * time.Second
	deleteLimit = 2 * time.Minute
	listLimit   = 10 * time.Second
	listEach    = 3 * time.Second // it pings every machine that runs
	listMost    = 100
)

// Machine is what a machine is made from.
type Machine struct {
	Name string
	// Artifact is the absolute path of a packed image.
	Artifact string
	CPUs     int
	Memory   int // MiB
	Storage  int // GiB
	// Socket is a unix socket of this host; each connection to GuestSocket in the machine is one to it.
	// Both are absolute; empty for none.
	Socket, GuestSocket string
	Labels              map[string]string
}

// States of machines.
const (
	Running     = "running"
	Unreachable = "unreachable" // its process lives and does not answer
)

// Status is a machine as smolvm sees it.
type Status struct {
	Name    string            `json:"name"`
	State   string            `json:"state"`
	Network bool              `json:"network"`
	CPUs    int               `json:"cpus"`
	Memory  int               `json:"memory_mib"`
	Mounts  int               `json:"mounts"`
	Ports   int               `json:"ports"`
	Labels  map[string]string `json:"labels"`
	Created int64             `json:"created_at"` // seconds since 1970
}

// Create makes a machine that has no network. ErrExists is wrapped when the name is taken.
func (t Tool) Create(ctx context.Context, m Machine) error {
	args := []string{"machine", "create", "--name", m.Name, "--from", m.Artifact,
		"--cpus", strconv.Itoa(m.CPUs), "--mem", strconv.Itoa(m.Memory), "--storage", strconv.Itoa(m.Storage)}
	for k, v := range m.Labels {
		args = append(args, "--label", k+"="+v)
	}
	if m.Socket != "" {
		args = append(args, "--mount-socket", m.Socket+":"+m.GuestSocket)
	}
	// What the image would run by itself is replaced by nothing.
	_, err := t.run(ctx, createLimit, append(args, "--", "/bin/true")...)
	return err
}

// Start boots a machine; one that runs is left alone.
func (t Tool) Start(ctx context.Context, name string) error {
	_, err := t.run(ctx, startLimit, "machine", "start", "--name", name)
	return err
}

// Stop ends a machine; one that doesn't run is left alone.
func (t Tool) Stop(ctx context.Context, name string) error {
	_, err := t.run(ctx, stopLimit, "machine", "stop", "--name", name)
	return err
}

// Delete ends a machine and removes it with its disks. One that is not there is no error.
func (t Tool) Delete(ctx context.Context, name string) error {
	_, err := t.run(ctx, deleteLimit, "machine", "delete", "--name", name, "--force")
	if err == nil || errors.Is(t.absent(ctx, name, err), ErrNoMachine) {
		return nil
	}
	return err
}

// Status looks at a machine; ErrNoMachine is wrapped when there is none of that name.
func (t Tool) Status(ctx context.Context, name string) (s Status, err error) {
	out, err := t.run(ctx, listLimit+listEach, "machine", "status", "--name", name, "--json")
	if err != nil {
		return s, t.absent(ctx, name, err)
	}
	if err := json.Unmarshal(out, &s); err != nil || s.Name != name {
		return s, fmt.Errorf("smolvm machine status: an answer that is none (%v)", err)
	}
	return s, nil
}

// absent makes ErrNoMachine of an error about a machine that is not listed: smolvm has several words for
// that, and its list is data.
func (t Tool) absent(ctx context.Context, name string, err error) error {
	if errors.Is(err, ErrNoMachine) || ctx.Err() != nil {
		return err
	}
	all, lerr := t.List(ctx)
	if lerr != nil || slices.ContainsFunc(all, func(s Status) bool { return s.Name == name }) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoMachine, err)
}

// List looks at every machine in the data folder.
func (t Tool) List(ctx context.Context) ([]Status, error) {
	out, err := t.run(ctx, listLimit+listMost*listEach, "machine", "ls", "--json")
	if err != nil {
		return nil, err
	}
	var all []Status
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("smolvm machine ls: an answer that is none (%w)", err)
	}
	return all, nil
}

// Exec is a command in a running machine, as its root, to be started by the caller: standard input,
// output and errors are carried byte for byte and without a bound, the exit code is the command's.
// Unlike a question it has no time to end.
func (t Tool) Exec(ctx context.Context, name string, argv ...string) *exec.Cmd {
	return t.Command(ctx, append([]string{"machine", "exec", "--name", name, "-i", "--workdir", "/", "--"}, argv...)...)
}

// ExecError makes an error of how an Exec ended and of what was said on standard error.
func (t Tool) ExecError(said string, err error) error {
	return t.explain([]string{"machine", "exec"}, said, err)
}
