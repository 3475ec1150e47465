// Command guest is what the tests of the stand-in run in its machines where a shell won't do.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func run(verb string, args []string) error {
	switch verb {
	case "dial": // PATH: standard input to a socket, and what comes back to standard output
		return dial(args[0])
	case "fd": // PATH: sends a descriptor with a byte
		return sendFd(args[0])
	case "net":
		ifs, err := net.Interfaces()
		for _, i := range ifs {
			fmt.Println(i.Name, i.Flags)
		}
		_, dialed := net.DialTimeout("tcp", "1.1.1.1:443", time.Second)
		fmt.Println("dial:", dialed)
		return err
	case "hog": // MIB
		n, err := strconv.Atoi(args[0])
		b := make([]byte, n<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Println("survived")
		return err
	case "size": // the size of the terminal, now and when it changes
		changed := make(chan os.Signal, 1)
		signal.Notify(changed, unix.SIGWINCH)
		for {
			z, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
			if err != nil {
				return err
			}
			fmt.Printf("%dx%d\n", z.Row, z.Col)
			<-changed
		}
	case "spew": // BYTES
		n, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return err
		}
		_, err = io.CopyN(os.Stdout, zeros{}, n)
		return err
	}
	return fmt.Errorf("unknown verb %q", verb)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func dial(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	u := c.(*net.UnixConn)
	go func() {
		_, _ = io.Copy(u, os.Stdin)
		_ = u.CloseWrite()
	}()
	n, err := io.Copy(os.Stdout, u)
	if n == 0 && err == nil {
		fmt.Println("closed")
	}
	return err
}

func sendFd(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	u := c.(*net.UnixConn)
	if _, _, err := u.WriteMsgUnix([]byte("x"), unix.UnixRights(1), nil); err != nil {
		return err
	}
	if err := u.CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, u)
	return err
}
