package smolmachines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/archive"
	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/guest"
	"github.com/claude-bottle/claude-bottle/internal/backend/jail"
	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
	"github.com/claude-bottle/claude-bottle/internal/cork/netjail"
	"github.com/claude-bottle/claude-bottle/internal/workspace"
)

// CorkMain is what our program is in a machine, started by its root with one of our verbs behind our
// name, and of no use otherwise. It returns the exit code.
func CorkMain(args []string) int {
	if err := inside(args); err != nil {
		fmt.Fprintln(os.Stderr, err) // the holder reads it
		return 1
	}
	return 0
}

var errNotOurs = errors.New("cork: this command is started by claude-bottle itself")

func inside(args []string) error {
	if len(args) != 3 || args[0] != Name {
		return errNotOurs
	}
	switch args[1] {
	case verbFill:
		return fill(args[2])
	case verbRun:
		return run(args[2])
	case verbSealed:
		return sealed(args[2])
	case verbDrain:
		return drain(args[2])
	}
	return errNotOurs
}

// fill takes what the bottle is made of from standard input.
func fill(told string) error {
	var g given
	if err := json.Unmarshal([]byte(told), &g); err != nil {
		return errNotOurs
	}
	// Whatever an earlier one left: it broke off, or the folders would not be filled again.
	if err := os.RemoveAll(bottleDir); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(ownDir, 0o711), os.Chmod(ownDir, 0o711), os.Mkdir(bottleDir, 0o700)); err != nil {
		return err
	}
	if _, err := archive.Unpack(os.Stdin, bottleDir, archive.Options{}); err != nil {
		return err
	}
	for _, name := range g.Names {
		if err := give(filepath.Join(bottleDir, name), g.UID, g.GID); err != nil {
			return err
		}
	}
	return nil
}

// give makes a tree the agent's.
func give(dir string, uid, gid int) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}

// wireFD is where sealed finds the connection to the wire's socket.
const wireFD = 3

// run starts cork in namespaces of its own and waits for its end. The end of our input is the end of
// whoever holds the bottle.
func run(told string) error {
	var s setup
	if err := json.Unmarshal([]byte(told), &s); err != nil {
		return errNotOurs
	}
	lock, err := os.OpenFile(lockPath, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return fmt.Errorf("another cork runs in this machine: %w", err)
	}
	defer lock.Close() // which releases it
	cmd := exec.Command("/proc/self/exe", backend.CorkCommand, Name, verbSealed)
	cmd.Stderr, cmd.Dir = os.Stderr, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
	}
	cmd.Env = []string{}
	wire, err := dial(s.Socket)
	if err == nil {
		defer wire.Close() // cork has its own copy
		cmd.ExtraFiles = []*os.File{wire}
		// A pipe that ends with us: the kernel forgets who is to die with its parent when they change
		// who they are, as cork does.
		if _, err := cmd.StdinPipe(); err != nil {
			return err
		}
	} else {
		s.Socket = ""
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	}
	order, err := json.Marshal(s)
	if err != nil {
		return err
	}
	cmd.Args = append(cmd.Args, string(order))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start cork in new namespaces: %w", err)
	}
	if wire != nil {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // nothing ever comes
			_ = cmd.Process.Kill()               // it may have ended
		}()
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("cork: %w", err)
	}
	return nil
}

// dial connects to the holder's socket.
func dial(socket string) (*os.File, error) {
	if socket == "" {
		return nil, os.ErrNotExist
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer c.Close() // the file is a copy
	return c.File()
}

// sealed is process 1 of the bottle: it builds it around itself and serves the wire.
func sealed(told string) error {
	var s setup
	if err := json.Unmarshal([]byte(told), &s); err != nil || os.Getpid() != 1 {
		return errNotOurs
	}
	line, err := wireOf(s)
	if err != nil {
		return err
	}
	bottle, err := build(s)
	if err != nil {
		return line.Refuse(err)
	}
	return line.Serve(bottle)
}

// wireOf is the line that run left for sealed.
func wireOf(s setup) (guest.Line, error) {
	if s.Socket == "" {
		return guest.Dial("")
	}
	f := os.NewFile(wireFD, "wire")
	defer f.Close() // the connection has a copy
	c, err := net.FileConn(f)
	if err != nil {
		return guest.Line{}, errNotOurs
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // nothing ever comes: its end is run's
		_ = c.Close()                        // which ends cork
	}()
	return guest.Over(c), nil
}

// build makes the bottle. The order is forced: network and file system need rights that cork gives up.
func build(s setup) (_ guest.Sealed, err error) {
	if err := s.Who.Check(); err != nil {
		return guest.Sealed{}, err
	}
	sockets, err := netjail.Seal()
	if err != nil {
		return guest.Sealed{}, err
	}
	defer func() {
		if err != nil {
			sockets.Close()
		}
	}()
	blob, err := os.Open(filepath.Join(bottleDir, filesName))
	if err != nil {
		return guest.Sealed{}, err
	}
	defer blob.Close() // only read
	if err := jail.Build(s.Jail, blob, nil); err != nil {
		return guest.Sealed{}, err
	}
	var writable []string
	for _, m := range s.Jail.Mounts {
		if m.Writable {
			writable = append(writable, m.Target)
		}
	}
	out, err := s.Who.Become(confine.Ceilings{FileSize: s.Disk, PIDs: s.PIDs}, writable)
	if err != nil {
		return guest.Sealed{}, err
	}
	out.Meter = s.Meter
	return out.With(sockets), nil
}

// lingering bounds how long drain waits for the end of what is killed already.
const lingering = 10 * time.Second

// drain writes the folder called name in bottleDir to standard output.
func drain(name string) error {
	if !filepath.IsLocal(name) {
		return errNotOurs
	}
	lock, err := os.OpenFile(lockPath, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which releases it
	for end := time.Now().Add(lingering); ; time.Sleep(20 * time.Millisecond) {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("cork is still running in this machine: %w", err)
		}
	}
	_, err = workspace.Tar(context.Background(), filepath.Join(bottleDir, name), os.Stdout, nil)
	return err
}
