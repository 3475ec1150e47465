package engine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// defaultSocket is where the docker command looks when nothing says otherwise.
const defaultSocket = "/var/run/docker.sock"

// maxSocket is the longest path of a unix socket in bytes; the last byte is for the NUL.
const maxSocket = len(syscall.RawSockaddrUnix{}.Path) - 1

// address is a parsed Where.Host. What it holds is safe to put into an argument list.
type address struct {
	scheme     string // "unix", "tcp" or "ssh"
	user       string // ssh, may be empty
	host, port string // tcp and ssh; ssh's port may be empty
	path       string // unix: the socket; tcp: before every request; ssh: the socket there, or empty
}

func (a address) String() string {
	switch a.scheme {
	case "unix":
		return "unix://" + a.path
	case "tcp":
		return "tcp://" + net.JoinHostPort(a.host, a.port) + a.path
	default:
		s := a.host
		if strings.Contains(s, ":") {
			s = "[" + s + "]"
		}
		if a.port != "" {
			s += ":" + a.port
		}
		if a.user != "" {
			s = a.user + "@" + s
		}
		return "ssh://" + s + a.path
	}
}

// parseAddress reads an address the way the docker command does, and stricter: it takes no
// password, and of ssh names nothing that ssh or a shell could take for more than a name. tls
// chooses tcp's default port. The error does not quote what may be a secret.
func parseAddress(s string, tls bool) (address, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "tcp", s // "host:port" alone
	}
	switch {
	case len(s) > 1024:
		return address{}, fmt.Errorf("an address of %d bytes is too long", len(s))
	case s == "":
		return address{}, errors.New("the address is empty")
	case scheme == "unix":
		return parseSocket(rest)
	case scheme == "tcp":
		return parseTCP(rest, tls)
	case scheme == "ssh":
		return parseSSH(rest)
	}
	return address{}, fmt.Errorf("an address can't begin with %q: it is unix://, tcp:// or ssh://", inert.Text(scheme, 32)+"://")
}

func parseSocket(p string) (address, error) {
	switch {
	case p == "":
		p = defaultSocket
	case !path.IsAbs(p) || strings.ContainsRune(p, 0):
		return address{}, fmt.Errorf("unix://%s does not name a socket by its absolute path", inert.Text(p, 128))
	case len(p) > maxSocket:
		return address{}, fmt.Errorf("the path of a unix socket has at most %d bytes, this one has %d", maxSocket, len(p))
	}
	return address{scheme: "unix", path: p}, nil
}

func parseTCP(rest string, tls bool) (address, error) {
	u, err := url.Parse("tcp://" + rest)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !hostName(u.Hostname()) && u.Hostname() != "" {
		return address{}, errors.New("a tcp:// address is tcp://host:port")
	}
	a := address{scheme: "tcp", host: u.Hostname(), port: u.Port(), path: strings.TrimRight(u.EscapedPath(), "/")}
	if a.host == "" {
		a.host = "localhost"
	}
	if a.port == "" {
		a.port = "2375"
		if tls {
			a.port = "2376"
		}
	}
	return a, checkPort(a.port)
}

func parseSSH(rest string) (address, error) {
	bad := func(more string) (address, error) {
		return address{}, errors.New("an ssh:// address is ssh://user@host:port" + more)
	}
	u, err := url.Parse("ssh://" + rest)
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return bad("")
	}
	if _, has := u.User.Password(); has {
		return bad(", without a password: use a key")
	}
	a := address{scheme: "ssh", user: u.User.Username(), host: u.Hostname(), port: u.Port(), path: u.Path}
	if a.path == "/" {
		a.path = ""
	}
	switch {
	case !hostName(a.host):
		return bad(", the host an IP address, or of letters, digits, dots, - and _ and not beginning with -")
	case u.User != nil && !word(a.user, ".+-_"):
		return bad(", the user of letters, digits, dots, +, - and _, and not beginning with -")
	case a.path != "" && !word(a.path, "/.+-_"):
		return bad("/path/of/socket, the path of letters, digits, dots, /, +, - and _")
	case a.port == "":
		return a, nil
	}
	return a, checkPort(a.port)
}

func checkPort(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return errors.New("a port is a number from 1 to 65535")
	}
	return nil
}

// hostName reports whether s is an IP address or looks like a name.
func hostName(s string) bool {
	if strings.Contains(s, ":") {
		ip, err := netip.ParseAddr(s)
		return err == nil && ip.Zone() == ""
	}
	return word(s, ".-_")
}

// word reports whether s is made of ASCII letters, digits and the bytes of also, and can't be taken
// for an option.
func word(s, also string) bool {
	if s == "" || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && strings.IndexByte(also, s[i]) < 0 {
			return false
		}
	}
	return true
}
