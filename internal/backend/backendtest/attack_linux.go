package backendtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attack is what the test binary does in the bottle. It prints a line for each attempt: its name,
// a tab, and "ok" or the error's name. An error means that the attack could not be tried.
func attack(args []string) error {
	attacks := map[string]func([]string) error{
		"syscalls": trySyscalls, "sockets": trySockets, "tty": tryTTY, "identity": tryIdentity, "init": tryInit,
		"rlimit": tryRlimit, "fork": tryFork, "memory": tryMemory, "inodes": tryInodes,
		"tcp": tryTCP, "udp": tryUDP, "udp-unconnected": tryUnconnected, "unix": tryUnix,
		"own-server": ownServer, "wait-server": waitServer,
	}
	f := attacks[args[0]]
	if f == nil {
		return fmt.Errorf("no attack %q", args[0])
	}
	return f(args[1:])
}

// tell prints what came of an attempt.
func tell(name string, err error) {
	var e syscall.Errno
	switch {
	case err == nil:
		fmt.Printf("%s\tok\n", name)
	case errors.As(err, &e):
		if e == 0 {
			fmt.Printf("%s\tok\n", name)
		} else {
			fmt.Printf("%s\t%s\n", name, unix.ErrnoName(e))
		}
	default:
		fmt.Printf("%s\t%v\n", name, err)
	}
}

const dialPatience = 10 * time.Second

// atOnce is the longest that a refusal may take. Nothing is started meanwhile, so it is plenty.
const atOnce = 5 * time.Second

// refused prints why an attempt that began then was refused; that it was so only late is another reason.
func refused(name string, began time.Time, err error) {
	if took := time.Since(began); took > atOnce {
		err = fmt.Errorf("after %v: %v", took, err) // and no error number
	}
	tell(name, err)
}

func tryTCP(addrs []string) error {
	for _, a := range addrs {
		began := time.Now()
		c, err := net.DialTimeout("tcp", a, dialPatience)
		if err != nil {
			refused(a, began, err)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(dialPatience)) // a fresh connection takes one
		b, err := io.ReadAll(c)
		if err != nil {
			tell(a, err)
			continue
		}
		fmt.Printf("%s\t%s\n", a, strings.TrimSpace(string(b)))
	}
	return nil
}

func tryUDP(addrs []string) error {
	for _, a := range addrs {
		began := time.Now()
		c, err := net.Dial("udp", a)
		if err != nil {
			refused(a, began, err)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(dialPatience)) // as above
		if _, err := io.WriteString(c, "hello"); err != nil {
			refused(a, began, err)
			continue
		}
		buf := make([]byte, 512)
		n, err := c.Read(buf)
		if err != nil {
			refused(a, began, err)
			continue
		}
		fmt.Printf("%s\t%s\n", a, buf[:n])
	}
	return nil
}

func tryUnconnected(addrs []string) error {
	for _, a := range addrs {
		to, err := net.ResolveUDPAddr("udp", a)
		if err != nil {
			return err
		}
		c, err := net.ListenUDP("udp", nil)
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(dialPatience)) // as above
		if _, err := c.WriteTo([]byte("hello"), to); err != nil {
			tell(a, err)
			continue
		}
		buf := make([]byte, 512)
		n, from, err := c.ReadFromUDPAddrPort(buf)
		switch {
		case err != nil:
			tell(a, err)
		case from.Addr().Unmap() != to.AddrPort().Addr().Unmap():
			fmt.Printf("%s\tanswered by %s\n", a, from)
		default:
			fmt.Printf("%s\t%s\n", a, buf[:n])
		}
	}
	return nil
}

func tryUnix(paths []string) error {
	for _, p := range paths {
		c, err := net.Dial("unix", p)
		if err == nil {
			err = c.Close()
		}
		tell(p, err)
	}
	return nil
}

// answer says "own" to whoever connects.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		_, _ = io.WriteString(c, "own") // the other side tells what it got
		_ = c.Close()
	}
}

// ownServer serves on each address and connects to it.
func ownServer(addrs []string) error {
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			tell(a, err)
			continue
		}
		go answer(l) // ends with the process
		c, err := net.Dial("tcp", strings.NewReplacer("0.0.0.0", "127.0.0.1", "[::]", "[::1]").Replace(a))
		if err != nil {
			tell(a, err)
			continue
		}
		b, err := io.ReadAll(c)
		if err != nil {
			tell(a, err)
			continue
		}
		fmt.Printf("%s\t%s\n", a, b)
	}
	return nil
}

// waitServer serves on an address and an abstract socket for as long as the bottle lives, and says
// through a pulse that it does.
func waitServer(args []string) error {
	for _, a := range args[:2] {
		network := "tcp"
		if strings.HasPrefix(a, "@") {
			network = "unix"
		}
		l, err := net.Listen(network, a)
		if err != nil {
			return err
		}
		go answer(l) // ends with the process
	}
	f, err := os.OpenFile(args[2], os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString("up!\n"); err != nil {
		return err
	}
	select {}
}

func tryFork([]string) error {
	var children []int
	for range 1000 {
		pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "1000"}, &syscall.ProcAttr{Env: os.Environ()})
		if err != nil {
			break
		}
		children = append(children, pid)
	}
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // they are ours
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	}
	fmt.Printf("children\t%d\n", len(children))
	return nil
}

func tryMemory(args []string) error {
	mib, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	b, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	tell("memory", nil)
	return nil
}

func tryInodes(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for i := range n {
		fd, err := unix.Open(args[0]+"/"+strconv.Itoa(i), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			tell("error", err)
			return nil
		}
		_ = unix.Close(fd) // empty
	}
	tell("error", nil)
	return nil
}
