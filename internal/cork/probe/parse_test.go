//go:build linux

package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

func testScene() *scene {
	return &scene{req: wire.ProbeRequest{Nonce: "here", HostNonce: "outside", ControlHost: "control.test"}}
}

func TestRefusedWantsTheMarker(t *testing.T) {
	t.Parallel()
	s := testScene()
	to := netip.MustParseAddrPort("1.1.1.1:80")
	for _, c := range []struct {
		name, reply string
		err         error
		ok, leak    bool
	}{
		{"the engine", "HTTP/1.1 403 Forbidden\r\nX-Claude-Bottle: denied\r\n\r\nno", nil, true, false},
		{"any case of the header", "HTTP/1.1 403 x\r\nx-claude-bottle: denied\r\n\r\n", nil, true, false},
		{"a stranger's 403", "HTTP/1.1 403 Forbidden\r\nServer: x\r\n\r\n", nil, false, true},
		{"a stranger's 200", "HTTP/1.1 200 OK\r\n\r\nhello", nil, false, true},
		{"the marker in the body", "HTTP/1.1 403 x\r\n\r\nX-Claude-Bottle: denied", nil, false, true},
		{"the marker on a success", "HTTP/1.1 200 OK\r\nX-Claude-Bottle: denied\r\n\r\n", nil, false, true},
		{"the host, even when it pretends", "HTTP/1.1 403 x\r\nX-Claude-Bottle: denied\r\n\r\noutside", nil, false, true},
		{"half a head", "HTTP/1.1 403 x\r\nX-Claude-Bottle: denied\r\n", nil, false, true},
		{"no word", "", nil, false, false},
		{"silence", "", errSilent, false, false},
		{"refused by somebody", "", unix.ECONNREFUSED, false, false},
		{"out of descriptors", "", unix.EMFILE, false, false},
	} {
		f := refused(s, &talk{to: to, replies: [][]byte{[]byte(c.reply)}, err: c.err})
		if f.ok != c.ok || f.leak != c.leak {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	ssh := &talk{to: netip.MustParseAddrPort("1.1.1.1:22"), replies: [][]byte{[]byte("claude-bottle: denied: no\r\n")}}
	if f := refused(s, ssh); !f.ok {
		t.Errorf("the engine's word on port 22: %+v", f)
	}
	ssh.to = to
	if f := refused(s, ssh); f.ok {
		t.Errorf("that word on port 80: %+v", f)
	}
}

func TestOpenedTunnelIsALeak(t *testing.T) {
	t.Parallel()
	tunnel := &talk{replies: [][]byte{
		[]byte("HTTP/1.1 200 Connection established\r\n\r\n"),
		[]byte("HTTP/1.1 403 x\r\nX-Claude-Bottle: denied\r\n\r\n"),
	}}
	if f := refusedConnect(testScene(), tunnel); !f.leak {
		t.Errorf("%+v", f)
	}
	socks := &talk{replies: [][]byte{{5, 0}, {5, 2, 0, 1, 0, 0, 0, 0, 0, 0}}}
	if f := refusedSOCKS(testScene(), socks); !f.ok {
		t.Errorf("code 2: %+v", f)
	}
	socks.replies = [][]byte{{5, 0}, {5, 0, 0, 1, 0, 0, 0, 0, 0, 0}, nil}
	if f := refusedSOCKS(testScene(), socks); !f.leak {
		t.Errorf("code 0: %+v", f)
	}
}

func TestDatagramMustBeRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		reply    string
		err      error
		ok, leak bool
	}{
		{"nobody there", "", unix.ECONNREFUSED, true, false},
		{"swallowed", "", errSilent, false, true},
		{"answered", "x", nil, false, true},
		{"could not send", "", unix.ENOBUFS, false, false},
	} {
		f := unanswered(nil, &talk{replies: [][]byte{[]byte(c.reply)}, err: c.err})
		if f.ok != c.ok || f.leak != c.leak {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

func TestUnknownNameWantsNXDOMAIN(t *testing.T) {
	t.Parallel()
	build := func(code dnsmessage.RCode, addr *[4]byte) []byte {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: queryID, Response: true, RCode: code}}
		if addr != nil {
			n := dnsmessage.MustNewName("x.test.")
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: n, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: *addr}}}
		}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name     string
		reply    []byte
		ok, leak bool
	}{
		{"NXDOMAIN", build(dnsmessage.RCodeNameError, nil), true, false},
		{"an address", build(dnsmessage.RCodeSuccess, &[4]byte{203, 0, 113, 1}), false, true},
		{"an address beside NXDOMAIN", build(dnsmessage.RCodeNameError, &[4]byte{203, 0, 113, 1}), false, true},
		{"the name exists", build(dnsmessage.RCodeSuccess, nil), false, true},
		{"a resolver in trouble", build(dnsmessage.RCodeServerFailure, nil), false, true},
		{"garbage", []byte("x"), false, true},
		{"nothing", nil, false, false},
	} {
		f := unknownName(nil, &talk{replies: [][]byte{c.reply}})
		if f.ok != c.ok || f.leak != c.leak {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	for addr, ok := range map[[4]byte]bool{{198, 18, 0, 7}: true, {198, 19, 255, 1}: true, {198, 20, 0, 1}: false, {8, 8, 8, 8}: false} {
		if _, err := controlAddr(&talk{replies: [][]byte{build(dnsmessage.RCodeSuccess, &addr)}}, false); (err == nil) != ok {
			t.Errorf("control host at %v: %v", addr, err)
		}
	}
}

func TestWorstDecides(t *testing.T) {
	t.Parallel()
	if f := worst([]finding{stopped("a"), unclear("b"), leaked("c"), unclear("d")}); f.text != "c" {
		t.Errorf("%+v", f)
	}
	if f := worst([]finding{stopped("a"), unclear("b"), stopped("c")}); f.text != "b" {
		t.Errorf("%+v", f)
	}
	if f := worst(nil); f.ok {
		t.Error("nothing tried is no pass")
	}
}

func TestMapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		table string
		uid   uint64
		want  uint64
		ok    bool
	}{
		{"         0          0 4294967295\n", 1000, 1000, true},
		{"0 100000 65536\n", 1000, 101000, true},
		{"0 1000 1\n1000 0 1\n", 1000, 0, true},
		{"1000 1000 1\n", 0, 0, false},
		{"", 1000, 0, false},
		{"0 -1 7\n", 0, 0, false},
	} {
		if got, ok := mapped(c.table, c.uid); got != c.want || ok != c.ok {
			t.Errorf("%q, %d: %d, %v", c.table, c.uid, got, ok)
		}
	}
}

func TestParentOf(t *testing.T) {
	t.Parallel()
	for stat, want := range map[string]int{"7 (x) S 1 7": 1, "2 (kthreadd) S 0 0": 0, "9 (a) S 3) S 5 9": 5} {
		if got, ok := parentOf(stat); !ok || got != want {
			t.Errorf("%q: %d, %v", stat, got, ok)
		}
	}
	if _, ok := parentOf("7 (x"); ok {
		t.Error("half a line has no parent")
	}
}

// A child that the kernel kills or that ends early leaves its calls unproven, never passed.
func TestUntriedCallIsUnproven(t *testing.T) {
	t.Parallel()
	c := sys("x", 0)
	if f := c.denied(refusal, errors.New("no fork")); f.ok || f.leak || !strings.Contains(f.text, "no fork") {
		t.Errorf("%+v", f)
	}
	if f := c.succeeded(nil); f.ok {
		t.Errorf("%+v", f)
	}
	c.tried, c.killed = true, true
	if f := c.denied(refusal, nil); !f.ok {
		t.Errorf("killed by the filter: %+v", f)
	}
}

func TestTryAllReportsEachCall(t *testing.T) {
	t.Parallel()
	calls := []*call{
		sys("getpid", unix.SYS_GETPID),
		sys("close(-1)", unix.SYS_CLOSE, minus(1)),
		{what: "clone", nr: unix.SYS_CLONE, forks: true},
		openat("/dev/null", unix.O_RDONLY),
		openat("/no/such/file", unix.O_RDONLY),
	}
	if err := tryAll(calls); err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, unix.EBADF, nil, nil, unix.ENOENT} {
		if !calls[i].tried || !errors.Is(calls[i].err(), want) {
			t.Errorf("%s: tried %v, %v, want %v", calls[i].what, calls[i].tried, calls[i].err(), want)
		}
	}
	early := []*call{sys("exit", unix.SYS_EXIT_GROUP, 3), sys("getpid", unix.SYS_GETPID)}
	if err := tryAll(early); err == nil || early[1].tried {
		t.Errorf("a child that ended early: %v, %+v", err, early[1])
	}
	// What SIGSYS ends is what the filter forbade; the calls after it are still made.
	killed := []*call{sys("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), killSelf(), sys("getpid", unix.SYS_GETPID)}
	if err := tryAll(killed); err != nil || !killed[1].killed || !killed[2].tried || killed[2].killed {
		t.Errorf("killed: %v, %+v, %+v", err, killed[1], killed[2])
	}
}

// killSelf loads a filter that kills the child at its next call, as a strict one would at a
// forbidden one. It needs no privilege but no_new_privs, which is to be set before.
func killSelf() *call {
	c := &call{what: "seccomp", nr: unix.SYS_SECCOMP}
	filter, at := c.room(8)
	binary.NativeEndian.PutUint16(filter, unix.BPF_RET|unix.BPF_K)
	binary.NativeEndian.PutUint32(filter[4:], unix.SECCOMP_RET_KILL_PROCESS)
	prog, ptr := c.room(16)
	binary.NativeEndian.PutUint16(prog, 1)
	binary.NativeEndian.PutUint64(prog[8:], uint64(at))
	c.args = [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, 0, ptr}
	return c
}

func FuzzParsers(f *testing.F) {
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Claude-Bottle: denied\r\n\r\nno"))
	f.Add([]byte{5, 2, 0, 3, 1, 'x', 0, 80})
	f.Add(query("x.test", dnsmessage.TypeA))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseHTTP(b)
		if ok && (r.status < 100 || r.status > 999) {
			t.Errorf("status %d", r.status)
		}
		if wholeHTTP(b) && !headHTTP(b) {
			t.Error("whole without a head")
		}
		wholeSOCKS(b)
		connectAnswered(b)
		_, _, _, _ = answered(b)
		mapped(string(b), 1000)
		parentOf(string(b))
		if line := firstLine(b); strings.ContainsAny(line, "\x1b\n\r") || len(line) > 60*10+2 {
			t.Errorf("not inert: %q", line)
		}
		noResolver(testScene(), &talk{replies: [][]byte{b}})
	})
}
