//go:build linux

package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// owner is who owns a file on the host.
func owner(t testing.TB, path string) (uid, gid uint32) {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	return st.Uid, st.Gid
}

func TestE15Ownership(t *testing.T) {
	t.Parallel()
	ownership(t, newHome(t))
}

// ownership checks that what the agent makes belongs to the operator on the host, that the host's
// changes are seen inside, and that the agent is root neither here nor there.
func ownership(t *testing.T, h *home) {
	t.Helper()
	b := h.bottle(t)
	o := b.do(t, "/bin/sh", "-c", "set -e; echo made > /workspace/made; mkdir -p /workspace/dir/deep; : > /workspace/dir/deep/file; ln -s made /workspace/link; mkfifo /workspace/pipe; cp /bin/sh /workspace/suid; chmod 6755 /workspace/suid; echo h > /home/agent/made; stat -c %u:%g /workspace/made")
	w := evil[map[string]string](t, b, "who")
	own := strings.Fields(w["Uid"] + " " + w["Gid"])
	if o.Code != 0 || len(own) != 8 || strings.TrimSpace(o.Stdout) != own[0]+":"+own[4] {
		t.Fatalf("make files: %+v, as %q", o, own)
	}
	unprivileged(t, w)
	if carried() {
		// The operator has them once the bottle has ended.
		if err := b.close(); err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if h.user != nil {
		uid, gid = h.user.uid, h.user.gid
	}
	for _, name := range []string{"workspace/made", "workspace/dir", "workspace/dir/deep/file", "workspace/link", "workspace/pipe", "workspace/suid", "home/made", "home/.config"} {
		if name == "workspace/pipe" && carried() {
			continue // what is no file, folder or link does not come home
		}
		if u, g := owner(t, filepath.Join(b.dir, name)); u != uid || g != gid {
			t.Errorf("%s belongs to %d:%d, the operator is %d:%d", name, u, g, uid, gid)
		}
	}
	if carried() {
		return // of nothing that runs
	}
	// The host's edits are seen.
	path := filepath.Join(b.dir, "workspace/from-host")
	if err := os.WriteFile(path, []byte("from the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	if c := evil[map[string]content](t, b, "read", "/workspace/from-host")["/workspace/from-host"]; c.Data != "from the host" {
		t.Errorf("the host's file inside: %+v", c)
	}
	if o := b.do(t, "/bin/sh", "-c", "echo changed > /workspace/from-host && stat -c %u /workspace/from-host"); strings.TrimSpace(o.Stdout) != own[0] {
		t.Errorf("the host's file is not the agent's: %+v", o)
	}
	// Nobody inside is the host's root.
	first := corks(b.id, b.warden)
	for _, p := range append(first, process{pid: children(first[0].pid)[0].pid}) {
		if u, _ := owner(t, "/proc/"+itoa(p.pid)); u == 0 && os.Geteuid() == 0 && isRoot(t, p.pid) {
			t.Errorf("process %d of the bottle is the host's root", p.pid)
		}
	}
}

// unprivileged checks who the agent is, and that it has no right beyond that: natively always the
// same to itself, in a container who the operator is or nobody at all, and never root.
func unprivileged(t *testing.T, w map[string]string) {
	t.Helper()
	uid := strings.Fields(w["Uid"])
	if len(uid) != 4 || uid[0] == "0" || uid[0] != uid[1] || containers == nil && uid[0] != "1000" {
		t.Errorf("the agent is user %q", uid)
	}
	if w["CapEff"] != strings.Repeat("0", 16) || w["CapBnd"] != strings.Repeat("0", 16) || w["NoNewPrivs"] != "1" || w["Seccomp"] != "2" {
		t.Errorf("the agent is %v", w)
	}
}

// isRoot reports whether a process has uid 0 on the host; the owner of its folder in /proc says so
// also of processes that hide.
func isRoot(t testing.TB, pid int) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/" + itoa(pid) + "/status")
	if err != nil {
		return false // gone
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 5 && f[0] == "Uid:" {
			return f[1] == "0" || f[2] == "0" || f[3] == "0" || f[4] == "0"
		}
	}
	t.Errorf("process %d has no uid", pid)
	return false
}

// hostSockets are sockets of the host that are really there, to be reached if there is a way.
func hostSockets(t testing.TB) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "host.sock")
	names := []string{path, "@e2e-host-" + filepath.Base(filepath.Dir(path)) + itoa(os.Getpid())}
	for _, name := range names {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		c, err := net.Dial("unix", name)
		if err != nil {
			t.Fatalf("benign twin: the socket %s can be reached on the host: %v", name, err)
		}
		_ = c.Close() // only reached
	}
	return names
}

func TestF01EngineSockets(t *testing.T) {
	t.Parallel()
	engineSockets(t, attacker(t, "sockets"))
}

func engineSockets(t *testing.T, b *sealed) {
	t.Helper()
	names := append(hostSockets(t),
		"/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/user/0/podman/podman.sock", "/run/user/1000/docker.sock",
		"/run/crio/crio.sock", "/run/systemd/private", "/run/systemd/notify", "/run/dbus/system_bus_socket", "/var/run/libvirt/libvirt-sock", "/run/snapd.socket",
		"/tmp/.X11-unix/X0", "@/tmp/.X11-unix/X0", "@/containerd-shim/x.sock", "@docker", "@/org/freedesktop/systemd1/notify", "/run/user/1000/bus", "/run/user/1000/wayland-0",
		"/run/user/1000/gnupg/S.gpg-agent", "/tmp/ssh-agent.sock", b.dir+"/warden.sock", b.dir+"/bait.sock")
	for name, got := range evil[map[string]string](t, b, append([]string{"unix"}, names...)...) {
		if got == "connected" {
			t.Errorf("%s is reached", name)
		}
	}
	// The twin: a socket of the bottle's own, of either kind of name, works.
	o := b.do(t, "/bin/sh", "-c", "test -S /workspace/own.sock || true; ls /run")
	if o.Code != 0 {
		t.Errorf("benign twin: %+v", o)
	}
	own := "@own-" + b.id
	go func() { _, _ = b.order(background, nil, "/workspace/evil", "listen", own, "/tmp/own.sock", "1h") }() // told by what follows
	within(t, patience, "the bottle's own sockets are reached", func() bool {
		got := evil[map[string]string](t, b, "unix", own, "/tmp/own.sock")
		return got["unix "+own] == "connected" && got["unix /tmp/own.sock"] == "connected"
	})
	// Of abstract sockets the bottle sees its own alone.
	all := evil[map[string]string](t, b, "abstract")["sockets"]
	if strings.Contains(all, "e2e-host") || strings.Contains(all, "warden.sock") || strings.Contains(all, "containerd") {
		t.Errorf("sockets of the host are seen: %s", all)
	}
}
