//go:build linux

package smolvmtest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest"
)

func TestGuest(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	rw, ro := t.TempDir(), t.TempDir()
	r.machine("a", "-v", rw+":/data/rw", "-v", ro+":/data/ro:ro", "--", "sh", "-c", "echo ran >> /workspace/main; exec sleep 7777")
	eventually(t, "main did not run", func() bool { return r.exec("a", "cat /workspace/main 2>/dev/null; true") == "ran\n" })
	for _, c := range []struct{ script, want string }{
		{"id -u; id -g", "0\n0\n"},
		{"grep() { while read k v; do [ $k = $1 ] && echo $v; done; }; grep CapEff: < /proc/self/status", capsOfHost(t)},
		{"tr() { cat; }; cat /proc/1/environ", ""},
		{"hostname", "a\n"},
		{"cat /etc/passwd", "root:x:0:0::/root:/bin/sh\n"},
		{"ls /", "bin data dev etc lib lib64 proc run sys tmp usr var workspace\n"},
		{"echo > /sys/x", "read-only"},
		{"echo x > /dev/full", "error"},
		{"dd if=/dev/zero of=/dev/null bs=1 count=1 2>/dev/null; stat -c %a /dev/null /tmp /run /dev/shm /dev/pts/ptmx", "666\n1777\n755\n1777\n666\n"},
		{"echo $(cat /workspace/main)", "ran\n"},
		{"echo w > /data/rw/x; cat /data/rw/x; echo w > /data/ro/x", "w\n"},
		{"cat /data/ro/x", "o such file"},
		{"cat /proc/mounts", ""},
		{"guest net", "dial: dial tcp 1.1.1.1:443: connect: network is unreachable\n"},
	} {
		a := r.run("machine", "exec", "--name", "a", "-i", "--", "sh", "-c", c.script)
		got := a.out + a.errors
		if c.script == "ls /" {
			got = strings.Join(strings.Fields(got), " ") + "\n"
			if !strings.Contains(got, "lib64 ") {
				c.want = strings.Replace(c.want, "lib64 ", "", 1)
			}
			if !strings.Contains(got, "usr ") {
				c.want = strings.Replace(c.want, "usr ", "", 1)
			}
		}
		if !strings.Contains(strings.ToLower(got), strings.ToLower(c.want)) {
			t.Errorf("%s: %q, want %q", c.script, got, c.want)
		}
		switch {
		case c.script == "guest net" && (!strings.HasPrefix(got, "lo ") || strings.Contains(got, "up") || strings.Count(got, "\n") != 2):
			t.Errorf("interfaces: %q", got)
		case c.script == "cat /proc/mounts" && strings.Contains(got, "/sys/fs/cgroup"):
			t.Errorf("mounts of the host: %q", got)
		case strings.Contains(c.script, "environ") && got != "":
			t.Errorf("process 1 has an environment: %q", got)
		}
	}
	if b, err := os.ReadFile(filepath.Join(rw, "x")); err != nil || string(b) != "w\n" {
		t.Errorf("the volume has %q (%v)", b, err)
	}
	// Only its own processes: init, the main command, and those of this exec.
	out := r.exec("a", "for p in /proc/[0-9]*; do cat $p/cmdline 2>/dev/null; echo; done")
	if n := strings.Count(out, "\n"); n > 4 || !strings.Contains(out, "7777") {
		t.Errorf("processes: %q", out)
	}
	// Orphans are collected.
	r.exec("a", "sh -c 'sleep 0.01 & sleep 0.02 &'")
	eventually(t, "zombies stay", func() bool {
		return !strings.Contains(r.exec("a", "cat /proc/[0-9]*/stat 2>/dev/null; true"), ") Z ")
	})
	// Process 1 is deaf to its own guest.
	r.exec("a", "kill -TERM 1; kill -INT 1; kill -KILL 1; true")
	if out := r.exec("a", "echo here"); out != "here\n" {
		t.Errorf("after a kill of process 1: %q", out)
	}
	// The main command runs on every start.
	r.must("machine", "stop", "--name", "a")
	r.must("machine", "start", "--name", "a")
	eventually(t, "main did not run again", func() bool { return r.exec("a", "cat /workspace/main") == "ran\nran\n" })
}

func capsOfHost(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "CapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line) + "\n"
}

func TestMemory(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	if unix.Access("/sys/fs/cgroup/memory/memory.limit_in_bytes", unix.W_OK) != nil {
		t.Skip("no memory groups of the first version that can be written")
	}
	r := install(t)
	r.machine("a", "--mem", "96", "--", "true")
	if a := r.run("machine", "exec", "--name", "a", "-i", "guest", "hog", "300"); a.code != 137 || a.out != "" {
		t.Errorf("got %+v", a)
	}
	if a := r.run("machine", "exec", "--name", "a", "-i", "guest", "hog", "10"); a.code != 0 || a.out != "survived\n" {
		t.Errorf("got %+v", a)
	}
}

// listen serves each connection to a socket of the host's.
func serve(t *testing.T, path string, do func(*net.UnixConn)) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go do(c)
		}
	}()
}

func TestMountedSocket(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	host, none, long := dir+"/host", dir+"/none", "/"+strings.Repeat("x", 120)
	fds := make(chan int, 1)
	serve(t, host, func(c *net.UnixConn) {
		defer c.Close()
		b, oob := make([]byte, 4096), make([]byte, 1024)
		n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
		if err == nil {
			fds <- oobn
		}
		rest, _ := io.ReadAll(c) // up to the half-close of the other side
		_, _ = c.Write([]byte("got " + string(b[:n]) + string(rest)))
	})
	// The sockets need not be there yet, nor be possible.
	r.machine("a", "--mount-socket", host+":/run/deep/er/s", "--mount-socket", none+":/tmp/none", "--mount-socket", long+":/run/long", "--", "true")
	for range 2 {
		if a := r.runWith("hello", "machine", "exec", "--name", "a", "-i", "guest", "dial", "/run/deep/er/s"); a.out != "got hello" {
			t.Errorf("got %+v", a)
		}
		<-fds
	}
	if a := r.run("machine", "exec", "--name", "a", "-i", "guest", "fd", "/run/deep/er/s"); a.out != "got x" {
		t.Errorf("got %+v", a)
	}
	if n := <-fds; n != 0 {
		t.Errorf("%d bytes of descriptors came through", n)
	}
	for _, path := range []string{"/tmp/none", "/run/long"} {
		if a := r.runWith("", "machine", "exec", "--name", "a", "-i", "guest", "dial", path); a.out != "closed\n" && !strings.Contains(a.errors, "reset") {
			t.Errorf("%s: got %+v", path, a)
		}
	}
	if out := r.exec("a", "stat -c %a /run/deep/er/s"); out != "777\n" {
		t.Errorf("mode %q", out)
	}
	// A socket that comes later is found, since each connection is made anew.
	serve(t, none, func(c *net.UnixConn) { _, _ = c.Write([]byte("late")); _ = c.Close() })
	if out := r.must("machine", "exec", "--name", "a", "-i", "guest", "dial", "/tmp/none"); out != "late" {
		t.Errorf("got %q", out)
	}
	r.must("machine", "stop", "--name", "a")
	r.Fault(smolvmtest.Faults{NoSockets: true})
	r.must("machine", "start", "--name", "a")
	if a := r.run("machine", "exec", "--name", "a", "-i", "guest", "dial", "/run/deep/er/s"); !strings.Contains(a.errors, "no such file or directory") {
		t.Errorf("got %+v", a)
	}
	r.Fault(smolvmtest.Faults{})
	r.must("machine", "create", "--name", "b", "--from", packed(t), "--mount-socket", host+":"+long)
	r.fails(1, "start machine: mount socket "+long, "machine", "start", "--name", "b")
	if n := len(r.Running()); n != 1 {
		t.Errorf("%d machines run", n)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	dir := t.TempDir()
	local, back := filepath.Join(dir, "local"), filepath.Join(dir, "back")
	data := strings.Repeat("0123456789", 300_000)
	if err := os.WriteFile(local, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	r.must("machine", "create", "--name", "a", "--from", packed(t), "--", "true")
	r.fails(1, "Error: vm not found: b\n", "machine", "cp", local, "b:/x")
	r.fails(1, "is not running", "machine", "cp", local, "a:/x")
	r.must("machine", "start", "--name", "a")

	// Until something runs in the machine, a file goes beneath what will be mounted there.
	r.must("machine", "cp", local, "a:/run/early")
	r.must("machine", "cp", local, "a:/var/early")
	if out := r.exec("a", "ls /run /var"); strings.Count(out, "early") != 1 {
		t.Errorf("before the first exec: %q", out)
	}
	r.must("machine", "cp", "--mode", "640", "--uid", "12", "--gid", "34", local, "a:/run/new/dir/x")
	if out := r.exec("a", "stat -c '%a %u %g %s' /run/new/dir/x; ls /run/new/dir"); out != "640 12 34 3000000\nx\n" {
		t.Errorf("stat %q", out)
	}
	r.must("machine", "cp", local, "a:relative")
	if out := r.exec("a", "stat -c '%a %u %g' /relative"); out != "644 0 0\n" {
		t.Errorf("stat %q", out)
	}
	r.must("machine", "cp", "a:/run/new/dir/x", back)
	if b, err := os.ReadFile(back); err != nil || string(b) != data {
		t.Errorf("%d bytes came back (%v)", len(b), err)
	}
	r.exec("a", "true > /run/empty; echo a:b > '/run/a:b'")
	r.must("machine", "cp", "a:/run/empty", back)
	if info, err := os.Stat(back); err != nil || info.Size() != 0 {
		t.Errorf("an empty file: %v (%v)", info, err)
	}
	r.must("machine", "cp", "a:/run/a:b", back) // the first colon counts
	if b, err := os.ReadFile(back); err != nil || string(b) != "a:b\n" {
		t.Errorf("got %q (%v)", b, err)
	}
	r.fails(1, "one of SRC or DST must use machine:path syntax", "machine", "cp", local, back)
	r.fails(1, "apply to uploads only", "machine", "cp", "--mode", "600", "a:/x", back)
	r.fails(1, "invalid octal mode '8'", "machine", "cp", "--mode", "8", local, "a:/x")
	r.fails(1, "parent traversal is not allowed", "machine", "cp", local, "a:/run/../x")
	r.fails(1, "read local file", "machine", "cp", filepath.Join(dir, "none"), "a:/x")
	r.fails(1, "Is a directory", "machine", "cp", dir, "a:/x")
	r.fails(1, "agent operation failed: read file: ", "machine", "cp", "a:/none", back)
	r.fails(1, "not a regular file", "machine", "cp", "a:/run", back)
	if out := r.exec("a", "ls /"); strings.Contains(out, "smolvm") || strings.Contains(out, "x\n") {
		t.Errorf("leftovers of failed copies: %q", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
