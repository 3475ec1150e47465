package native

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/jail"
	"github.com/claude-bottle/claude-bottle/internal/cork"
	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
	"github.com/claude-bottle/claude-bottle/internal/cork/netjail"
	"github.com/claude-bottle/claude-bottle/internal/cork/probe"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// CorkMain is process 1 of a native bottle: what our program is when started with
// backend.CorkCommand by Start, and of no use otherwise. It returns the exit code.
func CorkMain() int {
	if err := runCork(); err != nil {
		fmt.Fprintln(os.Stderr, err) // the holder reads it
		return 1
	}
	return 0
}

func runCork() error {
	unix.CloseOnExec(wireFD)
	_ = unix.Close(exeFD) // it was for the kernel to execute; the number may be unused
	f := os.NewFile(wireFD, "wire")
	c, err := net.FileConn(f)
	_ = f.Close() // c has a copy
	if err != nil {
		return errors.New("cork: this command is started by claude-bottle itself")
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("cork: this command is started by claude-bottle itself")
	}
	policy, err := seal(conn)
	if err != nil {
		// The holder may be gone, which would be why.
		return errors.Join(err, wire.SendFiles(conn, report{Failed: err.Error()}))
	}
	return cork.Serve(context.Background(), wire.NewSession(conn, wire.Cork), cork.Config{
		Confine: func() error {
			_, err := confine.Apply(policy)
			return err
		},
		Bound:   func() error { return confine.Bound(policy) },
		Unbound: confine.Unbound,
		Probes:  probe.Parts(),
	})
}

// seal builds the bottle around this process and hands its ways out to the holder.
func seal(conn *net.UnixConn) (confine.Policy, error) {
	var none confine.Policy
	if uid := os.Getuid(); uid != backend.AgentUID && uid != 0 {
		if err := becomeRoot(); err != nil {
			return none, err
		}
	}
	// The network needs nothing from the holder, so it is made while the setup is under way.
	network := make(chan struct{})
	var sockets netjail.Sockets
	var netErr error
	go func() {
		defer close(network)
		sockets, netErr = netjail.Seal()
	}()
	defer func() {
		<-network
		sockets.Close() // the holder has its own copies
	}()
	var s setup
	files, err := wire.RecvFiles(conn, &s)
	defer closeAll(files)
	if err != nil {
		return none, fmt.Errorf("setup: %w", err)
	}
	if len(files) != 1 {
		return none, errors.New("setup: the files' content is missing")
	}
	trees, err := receiveTrees(conn, s.Trees)
	defer closeAll(trees)
	if err != nil {
		return none, fmt.Errorf("setup: mounts: %w", err)
	}
	if err := confine.Lower(confine.Ceilings{FileSize: s.Disk, PIDs: s.PIDs}); err != nil {
		return none, err
	}
	if err := jail.Build(s.Jail, files[0], trees); err != nil {
		return none, err
	}
	if <-network; netErr != nil {
		return none, netErr
	}
	if err := confine.KeepCork(); err != nil {
		return none, err
	}
	r := report{Landlock: confine.LandlockABI(), Notes: sockets.Notes}
	if err := wire.SendFiles(conn, r, sockets.Files()...); err != nil {
		return none, fmt.Errorf("hand out the listeners: %w", err)
	}
	return policyOf(s), nil
}

// policyOf is what the agent may do in the bottle that s describes.
func policyOf(s setup) confine.Policy {
	p := confine.Standard(backend.AgentUID, backend.AgentGID)
	p.PIDs = s.PIDs
	for _, m := range s.Jail.Mounts {
		if m.Writable {
			p.Writable = append(p.Writable, m.Target)
		}
	}
	return p
}

// becomeRoot turns the host's root, who started cork and owns nothing in this user namespace, into
// the root of the namespace, who is nobody on the host. From here on no process of the bottle has
// host uid 0. An ordinary holder is the namespace's only user already, the agent's.
func becomeRoot() error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("drop groups: %w", err)
	}
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("become the bottle's root group: %w", err)
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return fmt.Errorf("become the bottle's root: %w", err)
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // mounts and a memory file: nothing to flush
	}
}
