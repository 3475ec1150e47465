package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sshHost is a real sshd on the loopback, and a real ssh that knows its hosts by name: "engine"
// runs docker's relay to the shared daemon, "nodocker" finds no docker, "stranger" has no key of
// ours, "noname" does not exist, "loud" says hostile words.
type sshHost struct{ *server }

// startSSH starts sshd.
var startSSH = sync.OnceValues(func() (h *sshHost, err error) {
	d, err := startDaemon()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "engine-ssh-")
	if err != nil {
		return nil, err
	}
	cleanup := func() error { return os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			err = errors.Join(err, cleanup())
		}
	}()
	real, err := exec.LookPath("ssh")
	if err != nil {
		return nil, err
	}
	docker, err := exec.LookPath("docker")
	if err != nil {
		return nil, err
	}
	sshd, err := exec.LookPath("sshd") // it insists on its absolute path
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	keys := []string{"host", "engine", "nodocker", "stranger", "loud"}
	public := map[string]string{}
	for _, k := range keys {
		file := filepath.Join(dir, k)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", k, "-f", file).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
		text, err := os.ReadFile(file + ".pub")
		if err != nil {
			return nil, err
		}
		public[k] = strings.TrimSpace(string(text))
	}
	entry := func(key, command string) string {
		return fmt.Sprintf("command=%q,restrict %s\n", command, public[key])
	}
	config := fmt.Sprintf("Host noname\n HostName noname.invalid\nHost *\n HostName 127.0.0.1\n User %s\n Port %s\n IdentityFile %s/%%n\n IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile %s/known\n StrictHostKeyChecking yes\n", me.Username, port, dir, dir)
	for name, text := range map[string]string{
		"known":      "[127.0.0.1]:" + port + " " + public["host"] + "\n",
		"ssh.config": config,
		"authorized": entry("engine", docker+" -H "+d.socket+" system dial-stdio") + entry("nodocker", "exec /missing/docker") +
			entry("loud", "sh "+dir+"/loud.sh"),
		"loud.sh":     `printf '\033[2Jfirst\nsecond\nthird\nfourth\033]0;x\007\n' >&2; exit 3`,
		"sshd.config": fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s/host\nPidFile none\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin forced-commands-only\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n", port, dir, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	// ssh finds its configuration by the user's account and not by $HOME.
	if err := os.WriteFile(filepath.Join(bin, "ssh"), fmt.Appendf(nil, "#!/bin/sh\nexec %s -F %s/ssh.config \"$@\"\n", real, dir), 0o755); err != nil {
		return nil, err
	}
	// Where sshd isolates itself; a service makes it, and none may be installed as one.
	const privsep = "/run/sshd"
	if err := os.Mkdir(privsep, 0o755); err == nil {
		folder := cleanup
		cleanup = func() error { return errors.Join(folder(), os.Remove(privsep)) }
	}
	s, err := serve(dir, exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd.config")))
	if err != nil {
		return nil, err
	}
	stops = append(stops, func() error { return errors.Join(s.stop(), cleanup()) })
	return &sshHost{s}, s.ready(func() error {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return err
		}
		return conn.Close()
	})
})

func ssh(t *testing.T) *sshHost {
	t.Helper()
	docker(t)
	need(t, "docker", "ssh", "sshd", "ssh-keygen")
	h, err := startSSH()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSSH(t *testing.T) {
	t.Parallel()
	ssh(t)
	e, err := Connect(t.Context(), Where{Host: "ssh://engine", From: `context "far"`})
	if err != nil {
		t.Fatal(err)
	}
	if i := e.Info(); i.Kind != Docker || i.Local || i.SharesUsers || i.Arch == "" {
		t.Errorf("%+v", i)
	}
	letGo(t, takeOver(t, e))
	if _, err := e.API().ContainerList(t.Context(), listAll); err != nil {
		t.Error(err)
	}
	// The next request after ssh was killed goes through another one.
	e.dialer.mu.Lock()
	var pids []int
	for c := range e.dialer.open {
		pids = append(pids, c.process.Pid)
		if err := c.process.Kill(); err != nil {
			t.Error(err)
		}
	}
	e.dialer.mu.Unlock()
	if len(pids) == 0 {
		t.Error("no ssh process")
	}
	for range len(pids) + 1 { // one each may have been under way to the dead ones
		if _, err = e.API().ContainerList(t.Context(), listAll); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("after ssh was killed: %v", err)
	}
	// One connection in use, and one that is idle: closing ends both processes.
	takeOver(t, e)
	e.dialer.mu.Lock()
	for c := range e.dialer.open {
		pids = append(pids, c.process.Pid)
	}
	e.dialer.mu.Unlock()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is left: %v", pid, err)
		}
	}
	if _, err := e.API().ContainerList(t.Context(), listAll); err == nil {
		t.Error("a closed engine answers")
	}
}

func TestSSHThatFails(t *testing.T) {
	t.Parallel()
	h := ssh(t)
	began := time.Now()
	for host, words := range map[string][]string{
		"ssh://stranger":            {"Permission denied (publickey)", "must connect without asking", "ssh -T -o BatchMode=yes"},
		"ssh://noname":              {"noname.invalid", "must connect without asking"},
		"ssh://nodocker":            {"/missing/docker", "docker command must be installed"},
		"ssh://loud":                {`\x1b]0;x\x07`, "third; fourth", "see what the docker command there needs"},
		"ssh://nobody@engine":       {"Permission denied"},
		"ssh://engine:1":            {"refused", "-p 1 -- engine docker system dial-stdio"},
		"ssh://engine:1/run/d.sock": {"docker --host unix:///run/d.sock system dial-stdio"},
	} {
		_, err := Connect(t.Context(), Where{Host: host, From: `context "far"`})
		if err == nil {
			t.Errorf("%s: connected: %s", host, h.said())
			continue
		}
		t.Log(err)
		refused(t, err, SSHFailed, append(words, host+` (context "far")`)...)
		if strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "first") {
			t.Errorf("%s: %q", host, err)
		}
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

// An ssh that never gets anywhere is killed when the time is over.
func TestSSHThatHangs(t *testing.T) {
	t.Parallel()
	ssh(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = Connect(ctx, Where{Host: fmt.Sprintf("ssh://engine:%d", l.Addr().(*net.TCPAddr).Port)})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
