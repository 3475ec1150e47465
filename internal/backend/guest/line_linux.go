//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Line is the way to the holder.
type Line struct {
	conn io.ReadWriteCloser
	unix *net.UnixConn // the same, when descriptors can go along
}

// Dial connects to the holder's socket, over which descriptors can go along, or takes standard input
// and output when there is none.
func Dial(socket string) (Line, error) {
	if socket == "" {
		in, err := pollable(0)
		if err != nil {
			return Line{}, err
		}
		out, err := pollable(1)
		if err != nil {
			return Line{}, err
		}
		return Line{conn: stdio{in, out}}, nil
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return Line{}, fmt.Errorf("reach the warden: %w", err)
	}
	return Line{c, c}, nil
}

// Over is the line over a connection that carries bytes alone.
func Over(conn io.ReadWriteCloser) Line { return Line{conn: conn} }

func (l Line) tell(r Report, sockets []*os.File) error {
	if l.unix != nil {
		return wire.SendFiles(l.unix, r, sockets...)
	}
	return r.Send(l.conn)
}

// Refuse tells the holder that there will be no bottle, and returns why.
func (l Line) Refuse(why error) error {
	// The holder may be gone, which would be why.
	return errors.Join(why, l.tell(Report{Failed: why.Error()}, nil))
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
