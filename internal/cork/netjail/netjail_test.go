//go:build linux

package netjail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// inJail is the argument with which the test binary runs in a network namespace of its own.
const inJail = "in-jail"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == inJail {
		if err := jails[os.Args[2]](); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// jails are the tests that run there.
var jails = map[string]func() error{
	"redirected": func() error {
		s, err := Seal()
		if err != nil {
			return err
		}
		if len(s.Notes) > 0 {
			return fmt.Errorf("notes on a kernel that has everything: %q", s.Notes)
		}
		return visit(s, "93.184.216.34:443", "10.0.0.1:22", "169.254.169.254:80", "[2606:4700::1111]:8443", "127.0.0.1:64999", "[::1]:64999")
	},
	// What is left on a kernel without nf_tables.
	"not redirected": func() error {
		v6, err := routes()
		if err != nil {
			return err
		}
		s, err := open(v6, false)
		if err != nil {
			return err
		}
		if err := visit(s, "93.184.216.34:443", "10.0.0.1:80", "[2606:4700::1111]:443"); err != nil {
			return err
		}
		if c, err := net.Dial("tcp", "10.0.0.1:22"); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("a port nobody hears: %v, %v", c, err)
		}
		return nil
	},
	// What there is on a kernel that makes no address local but loopback's, as gVisor's.
	"narrow": func() error {
		if err := loopbackUp(); err != nil {
			return err
		}
		s, err := narrow()
		if err != nil {
			return err
		}
		if !s.Narrow || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "bare addresses") {
			return fmt.Errorf("narrow is %v, notes %q", s.Narrow, s.Notes)
		}
		if len(s.Any) != 2 {
			return fmt.Errorf("%d listeners, want one for each of the web's ports", len(s.Any))
		}
		if err := asked(s); err != nil {
			return err
		}
		p, err := net.Dial("tcp", "127.0.0.1:3128")
		if err != nil {
			return fmt.Errorf("the proxy: %w", err)
		}
		_ = p.Close() // it is there
		if err := visit(s, "127.18.0.1:443", "127.18.0.1:80", "127.19.255.254:443", "127.0.0.1:80"); err != nil {
			return err
		}
		if c, err := net.Dial("tcp", "127.18.0.1:22"); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("a port nobody hears: %v, %v", c, err)
		}
		for _, bare := range []string{"93.184.216.34:443", "198.18.0.1:443", "10.0.0.1:80", "169.254.169.254:80", "[2606:4700::1111]:443"} {
			if c, err := net.Dial("tcp", bare); !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
				return fmt.Errorf("%s: %v, %v", bare, c, err)
			}
		}
		return nil
	},
	"errors of other kernels": func() error {
		for _, e := range []error{syscall.EINVAL, syscall.EOPNOTSUPP, syscall.ENOSYS} {
			if !foreign(fmt.Errorf("network: %w: %w", errRoute, e)) {
				return fmt.Errorf("%v is how a kernel that isn't Linux refuses a route", e)
			}
			if foreign(fmt.Errorf("bring up the loopback device: %w", e)) || foreign(e) {
				return fmt.Errorf("%v of another step was taken for a route's", e)
			}
		}
		for _, e := range []error{syscall.EPERM, syscall.EACCES, syscall.ENOBUFS, syscall.EEXIST} {
			if foreign(fmt.Errorf("%w: %w", errRoute, e)) {
				return fmt.Errorf("a route that failed with %v makes no kernel a foreign one", e)
			}
		}
		if foreign(nil) {
			return errors.New("a route that was made was taken for one refused")
		}
		return nil
	},
	"twice": func() error {
		s, err := Seal()
		if err != nil {
			return err
		}
		if _, err := Seal(); !errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("sealing a sealed network: %v", err)
		}
		s.Close()
		return nil
	},
	"errors of old kernels": func() error {
		for _, e := range []error{syscall.EOPNOTSUPP, syscall.ENOENT} {
			if !missing(fmt.Errorf("conn.Receive: %w", e)) {
				return fmt.Errorf("%v is how a kernel without nf_tables answers", e)
			}
		}
		if missing(syscall.EPERM) {
			return errors.New("a missing right was taken for a missing feature")
		}
		return nil
	},
}

// loopbackUp is all that such a kernel does for its network by itself.
func loopbackUp() error {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer c.Close() // a socket with nothing to flush
	_, err = c.Execute(request(unix.RTM_NEWLINK, 0, linkUp()))
	return err
}

// asked sends a datagram to where the bottle's resolv.conf points, and looks whether it is answered.
func asked(s Sockets) error {
	dns, err := net.FilePacketConn(s.DNS)
	if err != nil {
		return err
	}
	defer dns.Close() // the process ends
	c, err := net.Dial("udp", "127.0.0.1:53")
	if err != nil {
		return err
	}
	defer c.Close() // as above
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	buf := make([]byte, 16)
	if _, err := io.WriteString(c, "where?"); err != nil {
		return err
	}
	n, from, err := dns.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "where?" {
		return fmt.Errorf("asked was %q, %v", buf[:n], err)
	}
	if _, err := dns.WriteTo([]byte("here"), from); err != nil {
		return err
	}
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "here" {
		return fmt.Errorf("answered was %q, %v", buf[:n], err)
	}
	return nil
}

// visit connects to every address and looks where the listeners believe it was to go.
func visit(s Sockets, addrs ...string) error {
	defer s.Close()
	seen := make(chan netip.AddrPort)
	for _, f := range s.Any {
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		defer l.Close() // the process ends
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return // closed
				}
				seen <- Destination(c.(*net.TCPConn))
				_ = c.Close() // it has served
			}
		}()
	}
	for _, a := range addrs {
		c, err := net.Dial("tcp", a)
		if err != nil {
			return err
		}
		if got, want := <-seen, netip.MustParseAddrPort(a); got != want {
			return fmt.Errorf("a connection to %s was to go to %s", want, got)
		}
		if _, err := io.ReadAll(c); err != nil {
			return err
		}
	}
	return nil
}

func TestInJail(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range jails {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(exe, inJail, name)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

// On the host itself there is no right to change anything, and nothing is changed.
func TestNotOnTheHost(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		return // root has that right; Seal's contract forbids it
	}
	s, err := Seal()
	if !errors.Is(err, syscall.EPERM) {
		t.Errorf("sealing the host's network: %v", err)
		s.Close()
	}
}
