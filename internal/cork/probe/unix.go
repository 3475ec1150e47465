//go:build linux

package probe

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// engines are the sockets by which a container engine, a service manager or a desktop of the host
// would do the agent's bidding.
var engines = []string{
	"/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock",
	"/run/podman/podman.sock", "/run/crio/crio.sock", "/run/buildkit/buildkitd.sock", "/run/user/1000/docker.sock",
	"/run/user/1000/podman/podman.sock", "/run/user/1000/bus", "/run/user/1000/systemd/private", "/run/dbus/system_bus_socket",
	"/run/systemd/private", "/run/libvirt/libvirt-sock", "/run/snapd.socket", "/tmp/.X11-unix/X0", "@/tmp/.X11-unix/X0",
}

// ring connects to a unix socket; "@name" is abstract. Unix sockets connect or fail at once.
func ring(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) // it carried nothing to lose
	return unix.Connect(fd, &unix.SockaddrUnix{Name: name})
}

// tell sends a datagram to a unix socket, which needs no connection and so escapes a check that
// knows connect alone.
func tell(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) // it carried nothing to lose
	return unix.Sendto(fd, []byte("probe"), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: name})
}

// outOfReach rings every name. A socket of the wrong type that was found is found all the same.
func outOfReach(names []string) finding {
	if len(names) == 0 {
		return unclear("no socket was given to try")
	}
	for _, name := range names {
		for _, try := range []func(string) error{ring, tell} {
			err := try(name)
			switch {
			case err == nil:
				return leaked(name + ": reached")
			case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ECONNREFUSED),
				errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.ENOTSOCK):
				return leaked(name + ": it is there (" + errText(err) + ")")
			default:
				return unclear(name + ": " + errText(err))
			}
		}
	}
	return stopped(fmt.Sprintf("%d sockets, none there", len(names)))
}

// ownSocket makes a listener of the bottle's own at name, rings it, and calls during, if given,
// while it is there.
func ownSocket(name string, during func()) finding {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return unclear("own unix socket: " + errText(err))
	}
	defer unix.Close(fd) // it carried nothing to lose
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		return unclear("own unix socket " + name + ": bind: " + errText(err))
	}
	if !strings.HasPrefix(name, "@") {
		defer func() { _ = unix.Unlink(name) }() // made a moment ago, by us
	}
	if err := unix.Listen(fd, 1); err != nil {
		return unclear("own unix socket " + name + ": listen: " + errText(err))
	}
	if err := ring(name); err != nil {
		return unclear("own unix socket " + name + ": " + errText(err))
	}
	if during != nil {
		during()
	}
	return works("a unix socket of the bottle's own was reached")
}

// ownName makes names that no other probe run in this bottle has.
func ownName(prefix string) string {
	return fmt.Sprintf("%s%d-%x", prefix, os.Getpid(), time.Now().UnixNano())
}

func engineSockets(*scene) (attack, control finding) {
	return outOfReach(engines), ownSocket(ownName("/tmp/.probe-"), nil)
}

func hostUnix(s *scene) (attack, control finding) {
	control = ownSocket(ownName("/tmp/.probe-"), nil)
	if c := ownSocket(ownName("@probe-"), nil); !c.ok {
		control = c
	}
	return outOfReach(s.req.HostUnix), control
}

// abstractSockets looks for abstract names that are not the bottle's own: they live in the network
// namespace, so that a foreign one would mean a shared namespace. Before the agent's first
// instruction the bottle has none.
func abstractSockets(*scene) (attack, control finding) {
	own := ownName("@probe-")
	var table []byte
	var err error
	control = ownSocket(own, func() { table, err = readFile("/proc/thread-self/net/unix", 1<<20) })
	if err != nil || !control.ok {
		if err != nil {
			control = unclear("list of unix sockets: " + errText(err))
		}
		return unclear("list of unix sockets can't be read"), control
	}
	attack, control = stopped("no foreign abstract socket"), unclear("own abstract socket is not in the list")
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 8 || !strings.HasPrefix(f[7], "@") {
			continue
		}
		if f[7] == own {
			control = works("own abstract socket is in the list")
		} else {
			attack = leaked("foreign abstract socket " + firstLine([]byte(f[7])))
		}
	}
	return attack, control
}
