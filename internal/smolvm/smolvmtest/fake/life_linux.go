package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/setup"
	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/table"
)

// Files of a machine's folder.
const (
	bootFile   = "boot-config.json"
	rootfsDir  = "rootfs" // where it is mounted; of a shared artifact, what is in it
	upperDir   = "upper"  // what the machine has changed of that
	workDir    = "work"
	socketFile = "agent.sock"
	pidFile    = "agent.pid"
	logFile    = "agent-console.log"
)

// readyLimit is how long a start waits for the agent.
const readyLimit = 30 * time.Second

// name is the machine that a command is about.
func name(p *table.Parsed) string {
	if p.Has("name") {
		return p.One("name")
	}
	return "default"
}

// only locks a machine against commands that change it, and returns its record.
func (t *tool) only(name string) (r *record, unlock func(), err error) {
	unlock, err = t.home.lock("vm-" + hash(name))
	if err != nil {
		return nil, nil, fmt.Errorf("database operation failed: open: %w", err)
	}
	db, err := t.home.read()
	if err == nil && db.Machines[name] == nil {
		err = notFound(name)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return db.Machines[name], unlock, nil
}

// save writes a record back.
func (t *tool) save(r *record) error {
	return t.home.change(func(db *database) error {
		if db.Machines[r.Name] == nil {
			return notFound(r.Name)
		}
		db.Machines[r.Name] = r
		return nil
	})
}

func start(t *tool, p *table.Parsed) error {
	for _, dest := range []string{"forkable", "fork_pool_size"} {
		if p.Has(dest) {
			return notPlayed("machine start --" + strings.ReplaceAll(dest, "_", "-"))
		}
	}
	r, unlock, err := t.only(name(p))
	if err != nil {
		if err.Error() == notFound("default").Error() && !p.Has("name") {
			return notPlayed("the default machine that is not made from an artifact")
		}
		return err
	}
	defer unlock()
	switch t.state(r) {
	case stateRunning:
		fmt.Printf("Machine '%s' already running (PID: %d)\n", r.Name, r.Pid)
		return nil
	case stateUnreachable:
		fmt.Printf("Machine '%s' is unreachable (PID %d alive but agent unresponsive); cleaning up.\n", r.Name, r.Pid)
		if err := t.halt(r); err != nil {
			return err
		}
	}
	end(orphan(t.home.vm(r.Name)))
	info := ""
	if len(r.Mounts) > 0 {
		info = fmt.Sprintf(" with %d mount(s)", len(r.Mounts))
	}
	fmt.Fprintf(os.Stderr, "Starting machine '%s'%s...\n", r.Name, info)
	time.Sleep(t.Faults.SlowStart)
	pid, err := t.boot(r)
	if err != nil {
		return agentError("start machine", "%w", err)
	}
	r.Pid, r.PidStart, r.Started = pid, startOf(pid), true
	if err := t.save(r); err != nil {
		end(r.process())
		return err
	}
	fmt.Printf("Machine '%s' running (PID: %d)\n", r.Name, pid)
	return nil
}

// bootConfig is what the process of a machine is told.
type bootConfig struct {
	Name   string
	Rootfs string
	// Lower, Upper and Work are the layers of Rootfs.
	Lower, Upper, Work string
	Env                []string
	Workdir            string
	Main               []string
	Mounts             []mount
	Sockets            []socket
	Mem                int
	Cgroup             string
	// Sleep is of a machine that packs: it only has to be there.
	Sleep bool
}

// boot starts a machine's process and waits until its agent listens.
func (t *tool) boot(r *record) (pid int, err error) {
	if t.Faults.NoKVM {
		return 0, errors.New("kvm not available: /dev/kvm: No such file or directory (os error 2)")
	}
	if os.Geteuid() != 0 {
		return 0, errors.New("kvm not available: the stand-in's machines need root")
	}
	if t.Faults.StartTimeout {
		time.Sleep(200 * time.Millisecond)
		return 0, fmt.Errorf("agent operation failed: wait for agent: agent did not become ready within %d seconds", int(readyLimit.Seconds()))
	}
	dir := t.home.vm(r.Name)
	if !exists(filepath.Join(r.SharedPack, sharedFile)) {
		if _, err := t.home.share(r.Artifact); err != nil {
			return 0, fmt.Errorf("pack cache %s is gone, and its artifact too: %s", r.SharedPack, reason(err))
		}
	}
	c := bootConfig{
		Name: r.Name, Rootfs: filepath.Join(dir, rootfsDir), Lower: filepath.Join(r.SharedPack, rootfsDir),
		Upper: filepath.Join(dir, upperDir), Work: filepath.Join(dir, workDir), Env: r.Env, Workdir: r.Workdir,
		Main: append(slices.Clone(r.Entrypoint), r.Cmd...), Mounts: r.Mounts, Sockets: r.Sockets, Mem: r.Mem,
		Cgroup: filepath.Join(cgroups, "claude-bottle-fake-smolvm-"+hash(dir)),
	}
	if t.Faults.NoSockets {
		c.Sockets = nil
	}
	return t.launch(dir, c)
}

// launch starts a _boot-vm process, which outlives this one.
func (t *tool) launch(dir string, c bootConfig) (pid int, err error) {
	config := filepath.Join(dir, bootFile)
	b, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(config, b, 0o600); err != nil {
		return 0, err
	}
	console, err := os.OpenFile(filepath.Join(dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer console.Close()
	ready, sayReady, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer ready.Close()
	cmd := exec.Command(t.exe, "_boot-vm", config)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = console, console, []*os.File{sayReady}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = sayReady.Close()
	if err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	if err := setup.Started(t.dir, setup.VM{Pid: pid, Dir: dir, Cgroup: c.Cgroup}); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return 0, err
	}
	_ = ready.SetReadDeadline(time.Now().Add(readyLimit))
	line, err := bufio.NewReader(ready).ReadString('\n')
	if line == "ready\n" {
		return pid, nil
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	removeCgroup(c.Cgroup)
	if line = strings.TrimSpace(line); line == "" {
		line = fmt.Sprintf("agent did not become ready within %d seconds", int(readyLimit.Seconds()))
	}
	return 0, errors.New(line)
}

// end asks a machine's process to end, and sees to it.
func end(p process) {
	if !p.alive() {
		return
	}
	_ = unix.Kill(p.Pid, unix.SIGTERM)
	for begin := time.Now(); p.alive(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 5*time.Second {
			_ = unix.Kill(p.Pid, unix.SIGKILL)
		}
		if time.Since(begin) > 10*time.Second {
			return
		}
	}
}

// halt ends a machine's process and writes that down.
func (t *tool) halt(r *record) error {
	end(r.process())
	if r.process().alive() {
		return agentError("stop machine", "machine '%s' process is still alive after stop", r.Name)
	}
	dir := t.home.vm(r.Name)
	end(orphan(dir))
	// A process that was killed could not remove these.
	_ = os.Remove(filepath.Join(dir, socketFile))
	_ = os.Remove(filepath.Join(dir, pidFile))
	removeCgroup(filepath.Join(cgroups, "claude-bottle-fake-smolvm-"+hash(dir)))
	r.Pid, r.PidStart = 0, ""
	return t.save(r)
}

func stop(t *tool, p *table.Parsed) error {
	r, unlock, err := t.only(name(p))
	if err != nil {
		return err
	}
	defer unlock()
	if state := t.state(r); state != stateRunning && state != stateUnreachable {
		end(orphan(t.home.vm(r.Name)))
		fmt.Printf("Machine '%s' is not running (state: %s)\n", r.Name, state)
		return nil
	}
	fmt.Printf("Stopping machine '%s'...\n", r.Name)
	if err := t.halt(r); err != nil {
		return err
	}
	fmt.Printf("Stopped machine: %s\n", r.Name)
	return nil
}

func remove(t *tool, p *table.Parsed) error {
	r, unlock, err := t.only(p.One("name"))
	if err != nil {
		return err
	}
	defer unlock()
	if t.state(r) != stateCreated && t.state(r) != stateStopped {
		fmt.Printf("Stopping machine '%s'...\n", r.Name)
	}
	if err := t.halt(r); err != nil {
		return err
	}
	if !p.Has("force") && !p.Has("cascade") {
		fmt.Fprintf(os.Stderr, "Delete machine '%s'? [y/N] ", r.Name)
		if !confirm() {
			fmt.Println("Cancelled")
			return nil
		}
	}
	fmt.Printf("Cleaning up data directory for vm: %s\n", r.Name)
	if err := os.RemoveAll(t.home.vm(r.Name)); err != nil {
		return storageError("remove vm data directory", reason(err)) // the record stays: delete may be tried again
	}
	err = t.home.change(func(db *database) error { delete(db.Machines, r.Name); return nil })
	if err != nil {
		return err
	}
	fmt.Printf("Deleted machine: %s\n", r.Name)
	return nil
}

// describe is what --json shows of a machine.
func (t *tool) describe(r *record) map[string]any {
	some := func(n int) any {
		if n == 0 {
			return nil
		}
		return n
	}
	words := func(w []string) []string { return append([]string{}, w...) }
	m := map[string]any{
		"name": r.Name, "state": t.state(r), "pid": some(r.Pid), "cpus": r.CPUs, "memory_mib": r.Mem,
		"storage_gb": r.Storage, "overlay_gb": r.Overlay, "image": r.Image, "entrypoint": words(r.Entrypoint),
		"cmd": words(r.Cmd), "labels": r.Labels, "network": r.Network || t.Faults.Network, "mounts": len(r.Mounts),
		"ports": r.Ports, "created_at": r.CreatedAt, "ephemeral": false, "gpu": r.GPU, "gpu_vram_mib": nil,
		"cuda": r.CUDA, "forkable": false, "cuda_fork_pool_size": nil, "cuda_vram_limit_mib": nil,
		"forkpoint_held": false, "restart_policy": "never", "restart_max_retries": 0, "restart_count": 0,
		"health_cmd": nil, "health_interval_secs": nil, "health_timeout_secs": nil, "health_retries": nil,
		"health_startup_grace_secs": nil,
	}
	if old(t.Version) {
		for _, key := range strings.Fields("labels cuda forkable cuda_fork_pool_size cuda_vram_limit_mib forkpoint_held") {
			delete(m, key)
		}
	}
	return m
}

// old says whether a version's status has fewer fields.
func old(version string) bool { return strings.HasPrefix(version, "0.") }

func printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	return nil
}

func showStatus(t *tool, p *table.Parsed) error {
	time.Sleep(t.Faults.SlowList)
	db, err := t.home.read()
	if err != nil {
		return err
	}
	r := db.Machines[name(p)]
	switch {
	case r == nil && p.Has("json"):
		return configError("machine status", "machine '%s' not found", name(p))
	case r == nil && p.Has("name"):
		return notFound(name(p))
	case r == nil:
		fmt.Printf("Machine '%s': not running\n", name(p))
		return nil
	case p.Has("json"):
		return printJSON(t.describe(r))
	case t.state(r) == stateRunning:
		fmt.Printf("Machine '%s': running (PID: %d)\n", r.Name, r.Pid)
		return nil
	}
	fmt.Printf("Machine '%s': %s\n", r.Name, t.state(r))
	return nil
}

func list(t *tool, p *table.Parsed) error {
	time.Sleep(t.Faults.SlowList)
	db, err := t.home.read()
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(db.Machines))
	if p.Has("json") {
		all := []any{}
		for _, n := range names {
			all = append(all, t.describe(db.Machines[n]))
		}
		return printJSON(all)
	}
	if len(names) == 0 {
		fmt.Println("No machines found")
		return nil
	}
	fmt.Printf("%-20s %-12s %5s %10s %7s %7s %8s %8s\n%s\n", "NAME", "STATE", "CPUS", "MEMORY", "MOUNTS", "PORTS", "STORAGE", "OVERLAY", strings.Repeat("-", 88))
	size := func(n *int, standard int) string {
		if n != nil {
			standard = *n
		}
		return fmt.Sprintf("%d GiB", standard)
	}
	for _, n := range names {
		r := db.Machines[n]
		fmt.Printf("%-20s %-12s %5d %10s %7d %7d %8s %8s\n", n[:min(len(n), 18)], t.state(r), r.CPUs, fmt.Sprintf("%d MiB", r.Mem),
			len(r.Mounts), r.Ports, size(r.Storage, 20), size(r.Overlay, 10))
	}
	return nil
}

func dataDir(t *tool, p *table.Parsed) error {
	db, err := t.home.read()
	if err != nil {
		return err
	}
	if db.Machines[p.One("name")] == nil {
		return notFound(p.One("name"))
	}
	fmt.Println(t.home.vm(p.One("name")))
	return nil
}

// egressEvents never fails, not even for machines that don't exist.
func egressEvents(_ *tool, p *table.Parsed) error {
	if p.Has("json") {
		fmt.Println("[]")
		return nil
	}
	fmt.Printf("No egress denials recorded for '%s'.\n", name(p))
	return nil
}

// update changes what a driver may want to change: sizes and environment.
func update(t *tool, p *table.Parsed) error {
	db, err := t.home.read()
	if err != nil {
		return err
	}
	if db.Machines[p.One("name")] == nil {
		return configError("update", "machine '%s' not found", p.One("name"))
	}
	r, unlock, err := t.only(p.One("name"))
	if err != nil {
		return err
	}
	defer unlock()
	if state := t.state(r); state == stateRunning || state == stateUnreachable {
		return fmt.Errorf("invalid vm state: expected stopped, got %s", state)
	}
	var changes []string
	for dest := range p.Given {
		switch dest {
		case "name":
		case "cpus":
			r.CPUs = *number(p, dest)
		case "mem":
			r.Mem = *number(p, dest)
		case "storage":
			r.Storage = number(p, dest)
		case "overlay":
			r.Overlay = number(p, dest)
		case "env":
			r.Env = append(r.Env, p.All(dest)...)
		default:
			return notPlayed("machine update --" + strings.ReplaceAll(dest, "_", "-"))
		}
		if dest != "name" {
			changes = append(changes, fmt.Sprintf("  %s: %s", dest, strings.Join(p.All(dest), " ")))
		}
	}
	if err := resources(r); err != nil {
		return err
	}
	if len(changes) == 0 {
		fmt.Println("No changes specified.")
		return nil
	}
	slices.Sort(changes)
	fmt.Printf("Updated machine '%s':\n%s\n\nStart with: smolvm machine start --name %s\n", r.Name, strings.Join(changes, "\n"), r.Name)
	return t.save(r)
}
