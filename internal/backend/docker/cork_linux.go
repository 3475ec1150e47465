package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend/meter"
	"github.com/claude-bottle/claude-bottle/internal/cork"
	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
	"github.com/claude-bottle/claude-bottle/internal/cork/netjail"
	"github.com/claude-bottle/claude-bottle/internal/cork/probe"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// CorkMain is the first process of a container: what our program is when Start has the engine run
// it there, with a setup as JSON after our name, and of no use otherwise. It returns the exit code.
func CorkMain(args []string) int {
	if err := runCork(args); err != nil {
		fmt.Fprintln(os.Stderr, err) // the holder reads it
		return 1
	}
	return 0
}

func runCork(args []string) error {
	var s setup
	if len(args) != 2 || args[0] != Name || json.Unmarshal([]byte(args[1]), &s) != nil {
		return errors.New("cork: this command is started by claude-bottle itself")
	}
	line, err := dialHolder(s.Socket)
	if err != nil {
		return err
	}
	policy, sockets, r, err := seal(s)
	if err != nil {
		// The holder may be gone, which would be why.
		return errors.Join(err, line.tell(report{Failed: err.Error()}, nil))
	}
	if err := line.tell(r, sockets.Files()); err != nil {
		return fmt.Errorf("hand out the listeners: %w", err)
	}
	var ways wire.Ways
	if line.unix == nil { // elsewhere the holder has them by now
		if ways, err = netjail.Ways(sockets.Files()); err != nil {
			return err
		}
	}
	sockets.Close()
	session := wire.NewSession(line.conn, wire.Cork)
	if line.unix == nil {
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = wire.ServeWays(context.Background(), session, ways.Proxy, ways.Any, ways.DNS) // it ends with the session, whose end is the reason
		}()
		defer func() { <-served }()
	}
	ctx, end := context.WithCancelCause(context.Background())
	metered := make(chan struct{})
	go func() {
		defer close(metered)
		if err := measure(ctx, s); err != nil {
			end(err)
		}
	}()
	defer func() { end(nil); <-metered }()
	return cork.Serve(ctx, session, cork.Config{
		Confine: func() error {
			_, err := confine.Apply(policy)
			return err
		},
		Bound:   func() error { return confine.Bound(policy) },
		Unbound: confine.Unbound,
		Probes:  probe.Parts(),
	})
}

// measure watches how much the agent's folders take, until ctx ends. It sees what anybody sees: the
// meter reckons with folders that were closed to it.
func measure(ctx context.Context, s setup) error {
	if s.Meter == 0 {
		return nil
	}
	return meter.Watch(ctx, s.Writable, s.Meter)
}

// line is the way to the holder.
type line struct {
	conn io.ReadWriteCloser
	unix *net.UnixConn // the same, when descriptors can go along
}

// dialHolder connects to the holder's socket, or takes standard input and output when there is
// none.
func dialHolder(socket string) (line, error) {
	if socket == "" {
		in, err := pollable(0)
		if err != nil {
			return line{}, err
		}
		out, err := pollable(1)
		if err != nil {
			return line{}, err
		}
		return line{conn: stdio{in, out}}, nil
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return line{}, fmt.Errorf("reach the warden: %w", err)
	}
	return line{c, c}, nil
}

func (l line) tell(r report, sockets []*os.File) error {
	if l.unix != nil {
		return wire.SendFiles(l.unix, r, sockets...)
	}
	return sendReport(l.conn, r)
}

// pollable makes a file of one of the standard descriptors whose Close ends a Read under way.
func pollable(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("standard input and output: %w", err)
	}
	return os.NewFile(uintptr(fd), "wire"), nil
}

// stdio is a pair of pipes as one stream.
type stdio struct{ in, out *os.File }

func (s stdio) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s stdio) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s stdio) Close() error                { return errors.Join(s.in.Close(), s.out.Close()) }

// seal makes of the container a bottle. The order is forced: the network needs rights that cork
// gives up with root.
func seal(s setup) (p confine.Policy, sockets netjail.Sockets, r report, err error) {
	if s.CorkUID == 0 || s.AgentUID == 0 || s.AgentGID == 0 || s.CorkUID == s.AgentUID {
		return p, sockets, r, errors.New("cork and the agent need ids of their own, and neither may be root")
	}
	if sockets, err = netjail.Seal(); err != nil {
		return p, sockets, r, err
	}
	defer func() {
		if err != nil {
			sockets.Close()
		}
	}()
	// A runtime gives a temporary folder the mode of what it covers.
	for _, dir := range temporaryFolders {
		if err = os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
			return p, sockets, r, err
		}
	}
	for _, dir := range s.Own {
		if err = os.Chown(dir, s.AgentUID, s.AgentGID); err != nil {
			return p, sockets, r, err
		}
	}
	if err = confine.Lower(confine.Ceilings{FileSize: s.Disk, PIDs: s.PIDs}); err != nil {
		return p, sockets, r, err
	}
	if err = confine.BecomeCork(s.CorkUID, s.CorkUID); err != nil {
		return p, sockets, r, err
	}
	p = confine.Standard(uint32(s.AgentUID), uint32(s.AgentGID))
	p.PIDs = s.PIDs
	p.Writable = append(p.Writable, s.Writable...)
	r = report{Landlock: confine.LandlockABI(), Narrow: sockets.Narrow, Notes: sockets.Notes}
	return p, sockets, r, nil
}
