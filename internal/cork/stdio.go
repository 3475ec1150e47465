//go:build linux

package cork

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// stdio is a command's three standard files, before it starts: their ends and ours.
type stdio struct {
	theirs []int
	ours   *child
}

// newStdio makes them on the calling thread, which is the agent's, so that the agent may open them
// again by /dev/stdout or the terminal's name.
func newStdio(c wire.Command) (*stdio, error) {
	if c.TTY {
		return newTerminal(c)
	}
	s := &stdio{ours: &child{}}
	for i := range 3 {
		if err := s.pipe(i); err != nil {
			s.closeTheirs()
			s.ours.close()
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
	}
	return s, nil
}

// pipe makes the pipe of standard file i: 0 is written by us, 1 and 2 are read.
func (s *stdio) pipe(i int) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	mine, theirs := p[0], p[1]
	if i == 0 {
		mine, theirs = p[1], p[0]
	}
	s.theirs = append(s.theirs, theirs)
	f, err := pollable(mine, "stdio "+strconv.Itoa(i))
	if err != nil {
		return err
	}
	if i == 0 {
		s.ours.stdin = f
	} else {
		s.ours.outputs = append(s.ours.outputs, &output{f, wire.FrameStdout + wire.FrameType(i-1)})
	}
	return nil
}

// files are what the program gets as 0, 1 and 2: three pipes or one terminal thrice.
func (s *stdio) files() []uintptr {
	files := make([]uintptr, 3)
	for i := range files {
		files[i] = uintptr(s.theirs[min(i, len(s.theirs)-1)])
	}
	return files
}

// newTerminal makes a pseudo terminal. Its slave belongs to the thread's user, as the kernel has
// it for whoever opens the master.
func newTerminal(c wire.Command) (*stdio, error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a terminal: /dev/ptmx: %w", err)
	}
	slave, err := openSlave(master, c.Rows, c.Cols)
	if err != nil {
		_ = unix.Close(master) // the error is known
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	f, err := pollable(master, "terminal")
	if err != nil {
		_ = unix.Close(slave) // as above
		return nil, err
	}
	return &stdio{
		theirs: []int{slave},
		ours:   &child{stdin: f, terminal: f, outputs: []*output{{f, wire.FrameStdout}}},
	}, nil
}

func openSlave(master int, rows, cols uint16) (int, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return 0, fmt.Errorf("unlock: %w", err)
	}
	if rows > 0 && cols > 0 {
		if err := unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
			return 0, fmt.Errorf("window size: %w", err)
		}
	}
	// By the master and not by a name: names are the mount namespace's.
	fd, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		return 0, fmt.Errorf("its other side: %w", e)
	}
	return int(fd), nil
}

// pollable makes an os.File of fd that deadlines and Close can interrupt.
func pollable(fd int, name string) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd) // the error is known
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// closeTheirs closes the ends that the program has its own copies of by now.
func (s *stdio) closeTheirs() {
	for _, fd := range s.theirs {
		_ = unix.Close(fd) // a pipe's or terminal's close has nothing to report
	}
}

// close closes our ends; a terminal's program gets SIGHUP by it.
func (c *child) close() {
	if c.stdin != nil {
		_ = c.stdin.Close() // closed twice when its end was told before
	}
	for _, o := range c.outputs {
		_ = o.f.Close() // the terminal is its own stdin
	}
}
