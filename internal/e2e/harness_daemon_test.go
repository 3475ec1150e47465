//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

// daemon is a container engine of the tests' own, in the world.
type daemon struct {
	kind
	dir, host string
	cgroup    string // above those of all its containers
	cmd       *exec.Cmd
	done      chan struct{} // closed when it ended
}

// holding is a runtime of the daemon's that is runc, but while there is a file "hold" in the daemon's
// folder starts nothing. Its name is one that is known to run on the host's kernel.
const holding = "crun"

// newDaemon starts a daemon in a folder below /tmp, with the base image and the runtimes of the one
// it is made like.
func newDaemon(name string, k kind) (d *daemon, err error) {
	d = &daemon{kind: k, dir: filepath.Join("/tmp", name), cgroup: fmt.Sprintf("claude-bottle-e2e-%s-%d", name, os.Getpid())}
	d.host = "unix://" + d.dir + "/engine.sock"
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	model, err := client.New(client.WithHost(os.Getenv(k.variable)))
	if err != nil {
		return d, err
	}
	defer model.Close()
	if err := d.configure(model); err != nil {
		return d, fmt.Errorf("what the engine is to be like: %w", err)
	}
	if err := d.start(); err != nil {
		return d, err
	}
	return d, d.load(model)
}

// configure writes the runtimes of another engine into the configuration of this one.
func (d *daemon) configure(model *client.Client) error {
	info, err := model.Info(context.Background(), client.InfoOptions{})
	if err != nil {
		return err
	}
	type registered struct {
		Path string   `json:"path"`
		Args []string `json:"runtimeArgs,omitempty"`
	}
	config := map[string]map[string]registered{"runtimes": {holding: {Path: d.dir + "/holding"}}}
	if r, ok := info.Info.Runtimes["runsc"]; ok {
		config["runtimes"]["runsc"] = registered{r.Path, r.Args}
	}
	text, err := json.Marshal(config)
	program := fmt.Sprintf(`#!/bin/sh
if [ -e %[1]s/hold ]; then
  : >%[1]s/held
  while [ -e %[1]s/hold ]; do sleep 0.05; done
  exit 1
fi
exec runc "$@"
`, d.dir)
	return errors.Join(err, os.WriteFile(filepath.Join(d.dir, "holding"), []byte(program), 0o755), os.WriteFile(filepath.Join(d.dir, "daemon.json"), text, 0o600))
}

// start starts the daemon, for the first time or again, and waits until it answers.
func (d *daemon) start() error {
	out, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	// One that was killed left what says that it runs.
	for _, name := range []string{"pid", "exec/containerd/containerd.pid", "engine.sock"} {
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	d.cmd = d.command()
	d.cmd.Stdout, d.cmd.Stderr = out, out
	d.cmd.Dir = d.dir // where Podman's helpers leave notes
	// Where containerd writes its stacks when it was slow to end.
	d.cmd.Env = append(append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "TMPDIR="+d.dir), d.cmd.Env...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	d.done = make(chan struct{})
	started := make(chan error, 1)
	go func() { // ends with the daemon; stop and kill wait for it
		runtime.LockOSThread() // whose end would be the daemon's
		defer close(d.done)
		err := d.cmd.Start()
		started <- err
		if err == nil {
			_ = d.cmd.Wait() // however it ended, it did
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	// Any user of the world may use it, and nobody else comes here.
	return errors.Join(d.answers(), os.Chmod(filepath.Join(d.dir, "engine.sock"), 0o666))
}

// command is the daemon's own.
func (d *daemon) command() *exec.Cmd {
	if d.variable == podmanVar {
		cmd := exec.Command("podman", "--root", d.dir+"/data", "--runroot", d.dir+"/run", "--tmpdir", d.dir+"/tmp", "--storage-driver", "overlay",
			"--cgroup-manager", "cgroupfs", "system", "service", "--time=0", d.host)
		// How Podman is to be on this host is written down beside the one it is made like.
		model := strings.TrimPrefix(os.Getenv(podmanVar), "unix://")
		cmd.Env = []string{"CONTAINERS_CONF=" + filepath.Join(filepath.Dir(model), "containers.conf")}
		return cmd
	}
	return exec.Command("dockerd", "--config-file", d.dir+"/daemon.json", "--data-root", d.dir+"/data", "--exec-root", d.dir+"/exec", "--pidfile", d.dir+"/pid",
		"--storage-driver", "overlay2", "--bridge=none", "--iptables=false", "--ip-forward=false", "--cgroup-parent", "/"+d.cgroup, "-H", d.host)
}

func (d *daemon) answers() error {
	api, err := client.New(client.WithHost(d.host))
	if err != nil {
		return err
	}
	defer api.Close()
	for end := time.Now().Add(callTime); time.Now().Before(end); {
		if _, err = api.Ping(context.Background(), client.PingOptions{}); err == nil {
			return nil
		}
		select {
		case <-d.done:
			return fmt.Errorf("the engine ended: %s", d.said())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("the engine does not answer: %w: %s", err, d.said())
}

// said are the daemon's last words.
func (d *daemon) said() string {
	out, _ := os.ReadFile(filepath.Join(d.dir, "log")) // none is no words
	return string(out[max(0, len(out)-3000):])
}

// load copies the base image from another engine.
func (d *daemon) load(model *client.Client) error {
	api, err := client.New(client.WithHost(d.host))
	if err != nil {
		return err
	}
	defer api.Close()
	saved, err := model.ImageSave(context.Background(), []string{os.Getenv(baseVar)})
	if err != nil {
		return err
	}
	defer saved.Close()
	loaded, err := api.ImageLoad(context.Background(), saved)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, loaded)
	return errors.Join(err, loaded.Close())
}

// kill ends the daemon as a crash does: nothing of it is told to anybody.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.done
}

// sweep ends what a daemon that was killed forgot: Docker does not know again the container of a
// build's step, and it runs on.
func (d *daemon) sweep() error {
	for _, pid := range pids() {
		line, _ := os.ReadFile("/proc/" + itoa(pid) + "/cmdline") // gone meanwhile is as good
		name, _, _ := strings.Cut(string(line), "\x00")
		if (strings.HasPrefix(filepath.Base(name), "containerd-shim") || filepath.Base(name) == "conmon") && strings.Contains(string(line), d.dir+"/") {
			_ = syscall.Kill(pid, syscall.SIGKILL) // the same
		}
	}
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = d.removeGroups(); err == nil {
			break
		}
	}
	return err
}

// removeGroups kills what is in the daemon's control groups and removes them, the deepest first.
func (d *daemon) removeGroups() error {
	var groups []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(path, "/"+d.cgroup) {
			groups = append(groups, path)
		}
		return nil // gone meanwhile, or not for us to see
	})
	slices.Reverse(groups)
	for _, path := range groups {
		procs, _ := os.ReadFile(filepath.Join(path, "cgroup.procs")) // gone meanwhile is as good
		for _, pid := range strings.Fields(string(procs)) {
			n, _ := strconv.Atoi(pid) // the kernel writes numbers
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
		if rerr := os.Remove(path); !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// stop ends the daemon and removes its folder, mounts first.
func (d *daemon) stop() (err error) {
	if d.done != nil {
		_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-d.done:
		case <-time.After(callTime):
			err = fmt.Errorf("the engine had to be killed: %s", d.said())
			d.kill()
		}
	}
	err = errors.Join(err, d.sweep())
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // always there
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], d.dir+"/") {
			err = errors.Join(err, unix.Unmount(f[4], unix.MNT_DETACH))
		}
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}
