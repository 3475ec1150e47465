package backendtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

var networkRows = []row{
	{"there is no network device", noDevice},
	{"every connection is seen and tells where it was to go", everyConnection},
	{"the explicit proxy", explicitProxy},
	{"the name service hears port 53 of every address", nameService},
	{"the agent's own servers are its own", ownServers},
	{"other ports are refused at once", refusedAtOnce},
	{"the host's listeners are out of reach", hostListeners},
	{"other bottles are out of reach", otherBottles},
}

func noDevice(t *testing.T, c Config) {
	f := up(t, c)
	if got := f.sh("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"); got != "lo" {
		t.Errorf("devices: %q", got)
	}
	if got := f.sh("cat /proc/net/route | wc -l"); got == "1" && !c.OwnKernel {
		t.Error("no route at all: programs that look for one believe to be offline")
	}
}

// serve answers every connection with its destination, and returns the destinations seen.
func serve(t *testing.T, l net.Listener) <-chan netip.AddrPort {
	seen := make(chan netip.AddrPort, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			d, ok := conn.(wire.Destined)
			if !ok {
				t.Errorf("a %T does not know where it was to go", conn)
				return
			}
			seen <- d.Destination()
			if _, err := fmt.Fprintf(conn, "to %s\n", d.Destination()); err != nil {
				t.Error(err)
			}
			_ = conn.Close() // it was answered
		}
	}()
	t.Cleanup(func() {
		_ = l.Close() // closing twice is no matter
		<-done
	})
	return seen
}

func everyConnection(t *testing.T, c Config) {
	f := up(t, c)
	if f.bottle.Ways().Narrow != c.OwnKernel {
		t.Fatalf("the network is narrow: %v", !c.OwnKernel)
	}
	seen := serve(t, f.bottle.Ways().Any)
	if c.OwnKernel {
		narrowConnections(t, f, seen)
		return
	}
	places := []string{
		"93.184.216.34:443", "93.184.216.34:80", "140.82.112.3:22", "8.8.8.8:53", "8.8.8.8:853", "10.0.0.1:8443", "192.168.1.1:80",
		"169.254.169.254:80", "100.64.0.1:443", "198.18.0.7:443", "172.17.0.1:2375", "255.255.255.254:9", "1.2.3.4:64999",
		"[2606:4700::1111]:443", "[fd00:ec2::254]:80", "[2001:db8::1]:65535", "[64:ff9b::a00:1]:80",
	}
	came := f.attack("tcp", false, places...)
	for _, to := range places {
		if want := "to " + to; came[to] != want {
			t.Errorf("a connection to %s: %q, want %q", to, came[to], want)
		}
	}
}

// nowhere are the answers of a kernel that has no way to an address.
var nowhere = []string{"ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EADDRNOTAVAIL", "EAFNOSUPPORT"}

// narrowConnections is everyConnection where only loopback addresses can be dialled.
func narrowConnections(t *testing.T, f *fixture, seen <-chan netip.AddrPort) {
	in := wire.NamePool(true).Addr().Next()
	web := []string{netip.AddrPortFrom(in, 443).String(), netip.AddrPortFrom(in.Next(), 80).String()}
	came := f.attack("tcp", false, web...)
	for _, to := range web {
		if want := "to " + to; came[to] != want {
			t.Errorf("a connection to %s: %q, want %q", to, came[to], want)
		}
		<-seen
	}
	for to, how := range f.attack("tcp", false, "93.184.216.34:443", "10.0.0.1:8443", "169.254.169.254:80", "172.17.0.1:2375", "[2606:4700::1111]:443", "[fd00:ec2::254]:80") {
		if !slices.Contains(nowhere, how) {
			t.Errorf("a connection to %s: %q", to, how)
		}
	}
	select {
	case to := <-seen:
		t.Errorf("one arrived, to %s", to)
	default:
	}
}

func explicitProxy(t *testing.T, c Config) {
	f := up(t, c)
	done := make(chan error, 1)
	go func() {
		conn, err := f.bottle.Ways().Proxy.Accept()
		if err == nil {
			_, err = io.WriteString(conn, "proxy\n")
			err = errors.Join(err, conn.Close())
		}
		done <- err
	}()
	if came := f.attack("tcp", false, backend.ProxyAddr); came[backend.ProxyAddr] != "proxy" {
		t.Errorf("got %v", came)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func nameService(t *testing.T, c Config) {
	f := up(t, c)
	dns := f.bottle.Ways().DNS
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := dns.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if _, err := dns.WriteTo(append([]byte("re: "), buf[:n]...), from); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		_ = dns.Close() // closing twice is no matter
		<-done
	})
	places := []string{"127.0.0.1:53", "8.8.8.8:53", "9.9.9.9:53", "10.1.2.3:53", "[2001:4860:4860::8888]:53", "[::1]:53"}
	if c.OwnKernel {
		places = places[:1]
	}
	// Connected, which takes answers from the address that was asked alone, and not.
	for _, how := range []string{"udp", "udp-unconnected"} {
		came := f.attack(how, false, places...)
		for _, to := range places {
			if came[to] != "re: hello" {
				t.Errorf("%s to %s: %q", how, to, came[to])
			}
		}
	}
}

func ownServers(t *testing.T, c Config) {
	f := up(t, c)
	seen := serve(t, f.bottle.Ways().Any)
	places := []string{"127.0.0.1:8080", "[::1]:8080", "127.0.0.53:3000", "0.0.0.0:5173", "[::]:5174"}
	if c.OwnKernel { // which has no IPv6 without a network
		places = []string{"127.0.0.1:8080", "127.0.0.53:3000", "0.0.0.0:5173"}
	}
	came := f.attack("own-server", false, places...)
	for _, at := range places {
		if came[at] != "own" {
			t.Errorf("a server of the agent's on %s: %q", at, came[at])
		}
	}
	select {
	case to := <-seen:
		t.Errorf("a connection to the agent's own server went out, to %s", to)
	default:
	}
	// The listener behind the redirect may be talked to directly. It is then a connection to a
	// loopback address, which the engine refuses.
	came = f.attack("tcp", false, "127.0.0.1:64999")
	if how := came["127.0.0.1:64999"]; how != "to 127.0.0.1:64999" && how != "ECONNREFUSED" {
		t.Errorf("the listener itself: %q", how)
	}
}

func refusedAtOnce(t *testing.T, c Config) {
	f := up(t, c)
	for name, how := range f.attack("udp", false, "8.8.8.8:443", "1.1.1.1:123", "192.168.0.255:137", "[2606:4700::1111]:443", "127.0.0.1:1") {
		if how != "ECONNREFUSED" && (!c.OwnKernel || !slices.Contains(nowhere, how)) {
			t.Errorf("udp to %s: %s", name, how)
		}
	}
	if came := f.attack("tcp", false, "127.0.0.1:1"); came["127.0.0.1:1"] != "ECONNREFUSED" {
		t.Errorf("tcp to a closed port: %v", came)
	}
}

func hostListeners(t *testing.T, c Config) {
	word := nonce()
	var baits []string
	addrs := []string{"127.0.0.1:0", "[::1]:0"}
	ifs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range ifs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			addrs = append(addrs, net.JoinHostPort(ip.IP.String(), "0"))
		}
	}
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			continue // no such family on this host
		}
		bait(t, l, word)
		baits = append(baits, l.Addr().String())
	}
	abstract, err := net.Listen("unix", "@"+word)
	if err != nil {
		t.Fatal(err)
	}
	bait(t, abstract, word)
	// The twin: the same listener answers whoever stands on the host.
	conn, err := net.Dial("tcp", baits[0])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != word {
		t.Fatalf("the bait itself does not work: %q, %v", got, err)
	}

	f := up(t, c)
	serve(t, f.bottle.Ways().Any)
	for to, how := range f.attack("tcp", false, baits...) {
		if strings.Contains(how, word) {
			t.Errorf("the host's %s was reached", to)
		}
	}
	for to, how := range f.attack("unix", false, "@"+word) {
		if how == "ok" {
			t.Errorf("the host's %s was reached", to)
		}
	}
}

func bait(t *testing.T, l net.Listener, word string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			_, _ = io.WriteString(c, word) // whoever left got nothing, which is well
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close() // the test is over
		<-done
	})
}

func otherBottles(t *testing.T, c Config) {
	a, b := up(t, c), up(t, c)
	word := nonce()
	a.sh("echo " + word + " > /tmp/secret; echo " + word + " > /dev/shm/secret; echo " + word + " > /workspace/secret")
	serve := "(" + attacker + " " + attackCommand + " wait-server 0.0.0.0:7000 @" + word + " /workspace/pulse) >/dev/null 2>&1 &"
	if c.blind() {
		a.sh(": > /workspace/pulse; " + serve + " until test -s /workspace/pulse; do sleep 0.05; done")
	} else {
		ready := newPipe(t, a.work)
		a.sh(serve)
		ready.began()
	}
	if came := a.attack("tcp", false, "127.0.0.1:7000"); came["127.0.0.1:7000"] != "own" {
		t.Fatalf("the server in one bottle does not work: %v", came)
	}
	if came := a.attack("unix", false, "@"+word); came["@"+word] != "ok" {
		t.Fatalf("the socket in one bottle does not work: %v", came)
	}
	if came := b.attack("tcp", false, "127.0.0.1:7000"); came["127.0.0.1:7000"] != "ECONNREFUSED" {
		t.Errorf("one bottle's server from another: %v", came)
	}
	if came := b.attack("unix", false, "@"+word); came["@"+word] == "ok" {
		t.Error("one bottle's abstract socket was reached from another")
	}
	for _, p := range []string{"/tmp/secret", "/dev/shm/secret", "/workspace/secret", a.work + "/secret"} {
		b.fails("cat " + p)
	}
	if got := b.sh("cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '"); strings.Contains(got, word) {
		t.Error("one bottle's processes are seen from another")
	}
}
