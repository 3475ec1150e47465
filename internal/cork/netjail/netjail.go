//go:build linux

// Package netjail turns a new, empty network namespace into one from which everything leads to
// three sockets. There is no device but the loopback; every address there is, IPv4 and IPv6, is
// local to it; a netfilter rule brings all TCP connections that don't go to loopback addresses to
// one listener, and the DNS socket hears port 53 of every address. The sockets are meant to be
// handed to a process in another namespace, which decides about what arrives.
//
// Nothing here can leak: a packet that misses every rule still has no device to leave by. Ports
// nobody listens on, TCP or UDP, are refused at once by the kernel.
package netjail

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
)

const (
	// ProxyPort is where the explicit proxy listens, on 127.0.0.1.
	ProxyPort = 3128
	// anyPort is where redirected connections arrive, on 127.0.0.1 and ::1. It lies outside the
	// kernel's ephemeral range, where no program is given it by chance.
	anyPort = 64999
	dnsPort = 53
)

// Sockets are the ways out. They belong to the caller.
type Sockets struct {
	Proxy *os.File
	// Any are listeners whose connections together are all TCP that leaves. Their original
	// destination is Destination's to tell.
	Any []*os.File
	// DNS is one UDP socket; answers leave it with the address that was asked.
	DNS *os.File
	// Narrow says that the network has no addresses but loopback's: this kernel makes no others
	// local, as gVisor's doesn't. Then names need addresses from 127.0.0.0/8, connections to the
	// web's ports alone arrive, and nothing else can be dialled at all.
	Narrow bool
	// Notes say what is missing on this kernel, in words for the operator.
	Notes []string
}

// Files returns all of them in a fixed order: proxy, DNS, then the listeners of Any.
func (s Sockets) Files() []*os.File { return append([]*os.File{s.Proxy, s.DNS}, s.Any...) }

// Close closes all of them.
func (s Sockets) Close() {
	for _, f := range s.Files() {
		if f != nil {
			_ = f.Close() // a listener has nothing to flush
		}
	}
}

// Seal sets up the calling process's network namespace, which must be a new one with nothing in
// it but a loopback device that is down, and opens the sockets. It needs CAP_NET_ADMIN and
// CAP_NET_BIND_SERVICE over the namespace.
func Seal() (Sockets, error) {
	if leak.On("net") {
		return unsealed()
	}
	v6, err := routes()
	if foreign(err) {
		return narrow()
	}
	if err != nil {
		return Sockets{}, fmt.Errorf("network: %w", err)
	}
	var redirectErr error
	if !leak.On("no-any") {
		redirectErr = redirect(v6)
	}
	if redirectErr != nil && !missing(redirectErr) {
		return Sockets{}, fmt.Errorf("network: redirect: %w", redirectErr)
	}
	s, err := open(v6, redirectErr == nil)
	if err != nil {
		s.Close()
		return Sockets{}, fmt.Errorf("network: %w", err)
	}
	if redirectErr != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("this kernel has no nf_tables with NAT (%v): connections to ports other than 80 and 443 are refused without being recorded", redirectErr))
	}
	return s, nil
}

// narrow opens the sockets where every address can't be made local.
func narrow() (Sockets, error) {
	s, err := open(false, false)
	if err != nil {
		s.Close()
		return Sockets{}, fmt.Errorf("network: %w", err)
	}
	s.Narrow = true
	s.Notes = []string{"this kernel can't make every address local: bare addresses and ports other than 80 and 443 are refused by it, without being recorded"}
	return s, nil
}

// foreign reports whether err is how a kernel that isn't Linux refuses a route of ours.
func foreign(err error) bool {
	return errors.Is(err, errRoute) && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS))
}

// missing reports whether err is how a kernel without nf_tables, its NAT or connection tracking
// answers.
func missing(err error) bool {
	for _, e := range []error{unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.ENOENT, unix.EAFNOSUPPORT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Where the sockets are bound.
var (
	local4, local6 = netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	every4, every6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()
)

// open makes the sockets.
func open(v6, redirected bool) (s Sockets, err error) {
	if s.Proxy, err = listen(unix.SOCK_STREAM, netip.AddrPortFrom(local4, ProxyPort)); err != nil {
		return s, err
	}
	// One socket of both families where there are both; see dnsToLoopback for its answers' source.
	every := every4
	if v6 {
		every = every6
	}
	if s.DNS, err = listen(unix.SOCK_DGRAM, netip.AddrPortFrom(every, dnsPort)); err != nil {
		return s, err
	}
	// IPv4 and IPv6 apart: of a socket of both the kernel can't tell an IPv4 connection's
	// destination.
	places := []netip.AddrPort{netip.AddrPortFrom(local4, anyPort), netip.AddrPortFrom(local6, anyPort)}
	if !redirected {
		places = []netip.AddrPort{
			netip.AddrPortFrom(every4, 80), netip.AddrPortFrom(every4, 443),
			netip.AddrPortFrom(every6, 80), netip.AddrPortFrom(every6, 443),
		}
	}
	for _, p := range places {
		if p.Addr().Is6() && !v6 {
			continue
		}
		f, err := listen(unix.SOCK_STREAM, p)
		if err != nil {
			return s, err
		}
		s.Any = append(s.Any, f)
	}
	return s, nil
}

// backlog of the listeners; the kernel caps it by net.core.somaxconn.
const backlog = 4096

// listen opens a bound socket, listening if it is a stream socket. A datagram socket of IPv6 takes
// IPv4 as well.
func listen(kind int, at netip.AddrPort) (_ *os.File, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("listen on %s: %w", at, err)
		}
	}()
	family, addr := unix.AF_INET, unix.Sockaddr(nil)
	if at.Addr().Is4() {
		addr = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	} else {
		family, addr = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), at.String())
	if family == unix.AF_INET6 {
		only := 1
		if kind == unix.SOCK_DGRAM {
			only = 0
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = unix.Bind(fd, addr)
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = f.Close() // never used
		return nil, err
	}
	return f, nil
}
