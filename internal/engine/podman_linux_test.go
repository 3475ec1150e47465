package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// podman starts a service of its own, as the user uid, and returns where it is.
func podman(t *testing.T, uid uint32) Where {
	t.Helper()
	need(t, "podman")
	dir := shortDir(t)
	if err := errors.Join(os.Chown(dir, int(uid), int(uid)), os.Chmod(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	host := "unix://" + dir + "/podman.sock"
	cmd := exec.Command("podman", "--root", dir+"/data", "--runroot", dir+"/run", "--tmpdir", dir+"/tmp", "--cgroup-manager=cgroupfs", "system", "service", "--time=0", host)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "PATH=" + os.Getenv("PATH")}
	if int(uid) != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	s, err := serve(dir, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A rootless Podman leaves a process that holds its namespaces.
		_ = filepath.WalkDir(dir, func(name string, _ os.DirEntry, _ error) error {
			if filepath.Base(name) == "pause.pid" {
				text, _ := os.ReadFile(name)
				if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			return nil
		})
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	w := Where{Host: host, From: "default"}
	if err := s.ready(func() error {
		e, err := connect(t.Context(), w, 5*time.Second)
		if err != nil {
			return err
		}
		return e.Close()
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestPodman(t *testing.T) {
	t.Parallel()
	needRoot(t)
	e := connected(t, podman(t, 0))
	i := e.Info()
	if i.Kind != Podman || i.OS != "linux" || i.Arch != runtime.GOARCH || !i.Local || !i.SharesUsers || i.Rootless {
		t.Errorf("%+v", i)
	}
	if !i.Memory || !i.PIDs || !i.CPU {
		t.Errorf("limits: %+v", i)
	}
	if !slices.Equal(i.Runtimes, []string{i.DefaultRuntime}) || i.DefaultRuntime == "" {
		t.Errorf("runtimes %q, default %q", i.Runtimes, i.DefaultRuntime)
	}
	if _, err := i.PickRuntime("runsc"); err == nil || !strings.Contains(err.Error(), i.DefaultRuntime) {
		t.Errorf("gVisor on Podman: %v", err)
	}
}

// In Docker's words a rootless Podman does not say that it is one.
func TestRootlessPodman(t *testing.T) {
	t.Parallel()
	uid := uint32(os.Geteuid())
	if uid == 0 {
		uid = ordinary
	}
	i := connected(t, podman(t, uid)).Info()
	if i.Kind != Podman || !i.Rootless || !i.Local || i.SharesUsers {
		t.Errorf("%+v", i)
	}
	if i.Cgroup == "1" && (i.Memory || i.Swap || i.PIDs || i.CPU) {
		t.Errorf("limits without control groups: %+v", i)
	}
}
