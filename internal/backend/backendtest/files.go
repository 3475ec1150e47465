package backendtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

var fileRows = []row{
	{"what the agent makes is the operator's", ownership},
	{"a folder shown read-only can't be changed", readOnly},
	{"mounts lie in mounts", nested},
	{"a link left in the home leads no mount astray", plantedLink},
	{"the bottle's own files can't be changed", ownFiles},
	{"the host's files are not there", hostFiles},
	{"engine and operator sockets are not there", sockets},
	{"system folders can't be changed", systemFolders},
	{"kernel settings can't be changed", kernelSettings},
	{"accounts and name service are the bottle's own", accounts},
	{"ordinary programs work", ordinaryPrograms},
}

func ownership(t *testing.T, c Config) {
	f := prepare(t, c)
	if c.Carried {
		write(t, filepath.Join(f.work, "from-host"), "hello")
	}
	f.start()
	if !c.Carried { // what the host writes now is seen now
		write(t, filepath.Join(f.work, "from-host"), "hello")
	}
	f.sh(`cd /workspace
		cat from-host; echo more >> from-host; chmod 600 from-host
		mkdir -p dir/sub; echo x > dir/sub/file; ln -s file dir/sub/link; ln dir/sub/file dir/hard; mv dir/hard dir/moved
		test "$(stat -c %u:%g dir/sub/file)" = ` + f.ids() + `
		test "$(stat -c %u:%g from-host)" = ` + f.ids())
	if c.Carried {
		f.stop() // which brings it home
	}
	want := owner(t, f.work)
	for _, name := range []string{"from-host", "dir", "dir/sub", "dir/sub/file", "dir/sub/link", "dir/moved"} {
		if got := owner(t, filepath.Join(f.work, name)); got != want {
			t.Errorf("%s belongs to %s, the folder to %s", name, got, want)
		}
	}
	if got, err := os.ReadFile(filepath.Join(f.work, "from-host")); err != nil || string(got) != "hellomore\n" {
		t.Errorf("the host reads %q, %v", got, err)
	}
}

// owner is who a file belongs to on the host.
func owner(t *testing.T, path string) string {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%s: no owner on this system", path)
	}
	return fmt.Sprintf("%d:%d", sys.Uid, sys.Gid)
}

func readOnly(t *testing.T, c Config) {
	shared := t.TempDir()
	write(t, filepath.Join(shared, "file"), "kept")
	f := up(t, c, func(s *backend.Spec) {
		s.Mounts = append(s.Mounts, backend.Mount{Source: shared, Target: "/shared"})
	})
	if got := f.sh("cat /shared/file"); got != "kept" {
		t.Errorf("read %q", got)
	}
	for _, script := range []string{
		"echo x > /shared/new", "echo x > /shared/file", "rm /shared/file", "mv /shared/file /shared/g", "chmod 777 /shared/file",
		"touch -d 2000-01-01 /shared/file", "ln /shared/file /shared/hard", "mount -o remount,rw /shared",
		"echo x > /proc/self/root/shared/file",
	} {
		f.fails(script)
	}
	if got, err := os.ReadFile(filepath.Join(shared, "file")); err != nil || string(got) != "kept" {
		t.Errorf("the host has %q, %v", got, err)
	}
	f.sh("echo x > /workspace/new; rm /workspace/new") // the twin
}

func nested(t *testing.T, c Config) {
	cache, skills, file := t.TempDir(), t.TempDir(), write(t, filepath.Join(t.TempDir(), "f"), "one")
	write(t, filepath.Join(skills, "s"), "skill")
	f := prepare(t, c, func(s *backend.Spec) {
		// Deepest first, to see them sorted.
		s.Mounts = append([]backend.Mount{
			{Source: file, Target: backend.Home + "/.config/tool/file"},
			{Source: skills, Target: backend.Home + "/.config/skills"},
			{Source: cache, Target: backend.Home + "/.cache", Writable: true},
		}, s.Mounts...)
	})
	if c.Carried && !c.Nested {
		// A copy in the agent's folder is the agent's: what must not change there is refused.
		if b, err := f.backend.Start(t.Context(), f.spec, nil); err == nil {
			t.Error("a read-only mount lies in a folder that is the agent's")
			_ = b.Stop(t.Context()) // the test failed already
		}
		f.nothingLeft()
		return
	}
	f.start()
	f.sh(`test "$(cat ~/.config/tool/file ~/.config/skills/s)" = oneskill; echo x > ~/.cache/new; echo y > ~/.config/mine`)
	f.fails("echo x > ~/.config/skills/s")
	f.fails("echo x > ~/.config/tool/file")
	if c.Carried {
		f.stop() // which brings them home
	}
	if _, err := os.Stat(filepath.Join(cache, "new")); err != nil {
		t.Error(err)
	}
	if got, want := owner(t, filepath.Join(f.home, ".config")), owner(t, f.home); got != want {
		t.Errorf("the folder made for a mount belongs to %s, the home to %s", got, want)
	}
}

func plantedLink(t *testing.T, c Config) {
	outside := t.TempDir()
	f := prepare(t, c, func(s *backend.Spec) {
		s.Mounts = append(s.Mounts, backend.Mount{Source: t.TempDir(), Target: backend.Home + "/.cache/deep"})
	})
	if err := os.Symlink(outside, filepath.Join(f.home, ".cache")); err != nil {
		t.Fatal(err)
	}
	if b, err := f.backend.Start(t.Context(), f.spec, nil); err == nil {
		t.Error("a mount was made through a link")
		_ = b.Stop(t.Context()) // the test failed already
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("made outside: %v, %v", left, err)
	}
	f.nothingLeft()
}

func ownFiles(t *testing.T, c Config) {
	paths := []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/deep/er/file", backend.Home + "/.config/managed.json", "/tmp/given"}
	if c.Carried {
		paths = paths[:2] // the others lie where the agent may write; see nested
	}
	f := up(t, c, func(s *backend.Spec) {
		for _, p := range paths {
			s.Files = append(s.Files, backend.File{Path: p, Mode: 0o644, Data: []byte("of " + p)})
		}
		s.Files = append(s.Files, backend.File{Path: "/etc/empty", Mode: 0o644}, backend.File{Path: "/etc/resolv.conf", Mode: 0o644, Data: []byte("nameserver ::1\n")})
	})
	for _, p := range paths {
		if got := f.sh("cat " + p); got != "of "+p {
			t.Errorf("%s holds %q", p, got)
		}
		for _, script := range []string{"echo x > %s", "rm %s", "mv %s /tmp/x", "chmod 777 %s", "ln -f /etc/passwd %s"} {
			f.fails(fmt.Sprintf(script, p))
		}
	}
	if c.Carried {
		return // the engine itself writes the file there
	}
	if got := f.sh("cat /etc/empty /etc/resolv.conf"); got != "nameserver ::1" {
		t.Errorf("got %q", got)
	}
}

func hostFiles(t *testing.T, c Config) {
	word := nonce()
	var planted []string
	dirs := []string{t.TempDir(), "/tmp", "/var/tmp", "/dev/shm"}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, home)
	}
	for _, dir := range dirs {
		d, err := os.MkdirTemp(dir, "suite-")
		if err != nil {
			continue // not every user may write in each of them
		}
		t.Cleanup(func() { _ = os.RemoveAll(d) })
		planted = append(planted, write(t, filepath.Join(d, "secret"), word))
	}
	f := prepare(t, c)
	// Under another name neither; the twin is found, which shows that the search works.
	write(t, filepath.Join(f.work, "twin"), word)
	f.start()
	write(t, filepath.Join(f.spec.Dir, "state"), word)
	planted = append(planted, filepath.Join(f.spec.Dir, "state"))
	for _, p := range planted {
		f.fails("cat " + p)
		f.fails("cat /proc/1/root" + p)
		f.fails("cat /proc/1/cwd" + p)
	}
	r := f.run("/bin/sh", "-c", "grep -rlsF "+word+" --exclude-dir=proc --exclude-dir=usr --exclude-dir=opt --exclude-dir=dev / ; grep -rlsF "+word+" /usr/local/etc /dev/shm")
	if got := strings.TrimSpace(r.out); got != "/workspace/twin" {
		t.Errorf("found in %q", got)
	}
	if c.own() {
		return // its system has what any has, and nothing of the host's
	}
	for _, dir := range []string{"/root", "/mnt", "/media", "/srv", "/boot", "/lost+found", "/var/lib/dpkg", "/etc/ssh", "/etc/shadow", "/etc/sudoers", "/sys/kernel", "/run/systemd"} {
		f.fails("test -e " + dir)
	}
	if got := f.sh("ls /home; ls /var/log /sys | cat"); got != "agent\n/sys:\n\n/var/log:" {
		t.Errorf("got %q", got)
	}
}

func sockets(t *testing.T, c Config) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the test is over
	f := up(t, c)
	came := f.attack("unix", false, path, "/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock",
		"/run/containerd/containerd.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/tmp/tmux-0/default")
	for name, how := range came {
		if how != "ENOENT" {
			t.Errorf("connecting to %s: %s", name, how)
		}
	}
	if c.blind() {
		return // no socket crosses
	}
	inside, err := net.Listen("unix", filepath.Join(f.work, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close() // the test is over
	if came := f.attack("unix", false, "/workspace/s"); came["/workspace/s"] != "ok" {
		t.Errorf("a socket the operator did share: %v", came)
	}
}

func systemFolders(t *testing.T, c Config) {
	f := up(t, c)
	for _, dir := range []string{"/", "/usr", "/usr/bin", "/usr/local", "/bin", "/lib", "/etc", "/opt", backend.Programs, "/home", "/var", "/dev", "/sys", "/proc"} {
		f.fails("echo x > " + dir + "/new-file")
		f.fails("mkdir " + dir + "/new-folder")
	}
	f.fails("echo x >> /etc/passwd")
	f.fails("rm /etc/resolv.conf")
	f.fails("mknod /tmp/d c 1 3")
	for _, dir := range []string{"/tmp", "/var/tmp", "/run", "/dev/shm", backend.Home, backend.Workspace} {
		f.sh("echo x > " + dir + "/new-file; rm " + dir + "/new-file") // the twins
	}
}

func kernelSettings(t *testing.T, c Config) {
	f := up(t, c)
	for _, path := range []string{
		"sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hotplug", "sys/kernel/sysrq", "sys/kernel/hostname",
		"sys/vm/panic_on_oom", "sys/fs/binfmt_misc/register", "sys/net/ipv4/ip_forward", "sys/net/ipv4/ping_group_range",
		"irq/default_smp_affinity", "bus/pci/00/00.0", "fs/ext4/x", "1/mem", "1/oom_score_adj", "1/attr/current", "1/ns/user", "1/uid_map",
	} {
		f.fails("echo x > /proc/" + path)
	}
	for _, path := range []string{"kcore", "keys", "timer_list", "kmsg", "1/environ", "1/maps", "1/fd/3", "1/exe", "kpagecount"} {
		if r := f.run("/bin/sh", "-c", "head -c 16 /proc/"+path); r.out != "" {
			t.Errorf("/proc/%s can be read", path)
		}
	}
	f.run("/bin/sh", "-c", "echo b > /proc/sysrq-trigger") // that we are still here is the result
	f.fails("test -e /sys/fs/cgroup/release_agent")
	f.sh("cat /proc/self/status /proc/meminfo /proc/cpuinfo /proc/loadavg /proc/sys/kernel/osrelease > /dev/null; echo 500 > /proc/self/oom_score_adj")
}

func accounts(t *testing.T, c Config) {
	f := up(t, c)
	if got := f.sh("cut -d: -f1 /etc/passwd; cat /etc/hostname; id -un \"$(id -u)\"; getent hosts localhost | wc -l"); !strings.HasPrefix(got, "root\nagent\nnobody\ntest\nagent\n") {
		t.Errorf("got %q", got)
	}
	own := f.sh("cat /etc/machine-id")
	if host, err := os.ReadFile("/etc/machine-id"); err == nil && strings.TrimSpace(string(host)) == own {
		t.Error("the bottle has the host's machine id")
	}
	if len(own) != 32 {
		t.Errorf("machine id %q", own)
	}
}

func ordinaryPrograms(t *testing.T, c Config) {
	f := up(t, c)
	f.sh(`cd /workspace
		git init -q repo; cd repo; git config user.email a@b; git config user.name a
		echo x > f; git add f; git commit -qm first; test "$(git log --oneline | wc -l)" = 1`)
	for program, script := range map[string]string{
		"bash":    `bash -lc 'x=(1 2); diff <(echo 1) <(echo 1); echo ${#x[@]}'`,
		"node":    `node -e 'new (require("worker_threads").Worker)("1",{eval:true}); console.log(require("os").userInfo().username); require("fs").writeFileSync("/tmp/n","x")'`,
		"python3": `/usr/bin/python3 -c 'import threading,subprocess,multiprocessing as m; q=m.Queue(); t=threading.Thread(target=lambda:q.put(1)); t.start(); t.join(); q.get(); subprocess.run(["true"],check=True)'`,
		"curl":    `curl --version`,
		"tmux":    `tmux -f /dev/null new-session -d 'echo in tmux > /tmp/tm; sleep 100'; tmux kill-server`,
		"perl":    `perl -e 'print "x" x 3; fork; wait'`,
		"gcc":     `cd /tmp; echo 'int main(){return 0;}' > a.c; gcc a.c -o a; ./a`,
	} {
		t.Run(program, func(t *testing.T) {
			if r := f.run("/bin/sh", "-c", "command -v "+program); r.exit.Code != 0 {
				return // this host has none, so neither has the bottle
			}
			r := f.run("/bin/sh", "-ec", script)
			if r.exit.Code != 0 {
				t.Errorf("%+v\n%s%s", r.exit, r.out, r.err)
			}
		})
	}
}
