//go:build linux

package e2e_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// datagrams tries every way there is to get a datagram, or a connection, to unix sockets by name, and
// prints what came of each; the last line is of a socket of the bottle's own.
const datagrams = `import os, socket, sys
def name(n): return "\0" + n[1:] if n.startswith("@") else n
def attempt(what, n, f):
    try: f(); print("sent", what, n)
    except OSError as e: print("failed", what, n, e.errno)
for n in sys.argv[1:]:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        s = socket.socket(socket.AF_UNIX, kind)
        attempt("connect-%d" % kind, n, lambda: s.connect(name(n)))
        s.close()
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    attempt("sendto", n, lambda: s.sendto(b"stolen", name(n)))
    attempt("sendmsg", n, lambda: s.sendmsg([b"stolen"], [], 0, name(n)))
    r, w = os.pipe()
    attempt("rights", n, lambda: s.sendmsg([b"stolen"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, (r).to_bytes(4, "little"))], 0, name(n)))
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); own.bind("\0own-datagrams")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
attempt("twin", "own", lambda: s.sendto(b"hello", "\0own-datagrams"))
print("received", own.recv(16).decode())
`

// Attack B12: sockets of the host's, by abstract name and by path, by connection and by datagram.
func TestB12UnixSocketsOfTheHost(t *testing.T) {
	t.Parallel()
	b := newHome(t).bottle(t)
	dir := t.TempDir()
	names := []string{"@b12-" + b.id, filepath.Join(dir, "datagrams"), "/var/run/docker.sock", "/run/docker.sock", "@/containerd-shim/x.sock", b.dir + "/warden.sock"}
	arrived := make(chan string, 16)
	for _, n := range names[:2] {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // it was read from
		go func() {
			buf := make([]byte, 64)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				arrived <- string(buf[:n])
			}
		}()
	}
	// The host's own sockets are there: who is on the host reaches them.
	for _, n := range names[:2] {
		c, err := net.Dial("unixgram", n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("from the host")); err != nil {
			t.Fatal(err)
		}
		_ = c.Close() // it was written to
		select {
		case <-arrived:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s is no socket of the host's", n)
		}
	}
	o := b.do(t, append([]string{"/usr/bin/python3", "-c", datagrams}, names...)...)
	out := o.Stdout
	if !strings.Contains(out, "sent twin own") || !strings.Contains(out, "received hello") {
		t.Fatalf("benign twin: %+v", o)
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "sent ") && !strings.HasPrefix(line, "sent twin") {
			t.Errorf("%s", line)
		}
	}
	if want := len(names) * 6; strings.Count(out, "failed ") != want {
		t.Errorf("%d of %d attempts failed:\n%s", strings.Count(out, "failed "), want, out)
	}
	select {
	case got := <-arrived:
		t.Errorf("the host received %q", got)
	case <-time.After(100 * time.Millisecond):
	}
}
