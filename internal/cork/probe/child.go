//go:build linux

package probe

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childPatience bounds a batch of system calls, none of which waits for anything but a processor.
const childPatience = 10 * time.Second

// call is one raw system call to try in a child. Pointers in args are kept alive by keep.
type call struct {
	what string
	nr   uintptr
	args [6]uintptr
	keep []any
	// forks marks calls whose success makes a second child, which must end at once.
	forks bool

	out   outcome
	tried bool
	// killed is true when the kernel killed the child for trying.
	killed bool
}

// outcome is what a child reports of one call, written to a pipe as it stands in memory.
type outcome struct {
	ret   uintptr
	errno uintptr
}

// err is the call's errno as an error, nil for success.
func (c *call) err() error {
	if c.out.errno == 0 {
		return nil
	}
	return unix.Errno(c.out.errno)
}

// tryAll makes every call in a forked child, in order, and fills in the outcomes. A child that the
// seccomp filter kills is replaced for the calls that follow. The error tells why calls are left
// untried.
func tryAll(calls []*call) error {
	batch := make([]call, len(calls))
	for i, c := range calls {
		batch[i] = *c
	}
	defer func() {
		for i, c := range calls {
			c.out, c.tried, c.killed = batch[i].out, batch[i].tried, batch[i].killed
		}
	}()
	for done := 0; done < len(batch); {
		n, killed, err := tryBatch(batch[done:])
		done += n
		if err != nil {
			return err
		}
		if killed && done < len(batch) {
			batch[done].tried, batch[done].killed = true, true
			done++
		}
	}
	return nil
}

// tryBatch forks once and collects outcomes until the child ends. killed says that it died of
// SIGSYS at the call after the last one done.
func tryBatch(batch []call) (done int, killed bool, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return 0, false, err
	}
	defer unix.Close(p[0]) // only ever read from
	pid, errno := forkAndTry(unsafe.Pointer(&batch[0]), len(batch), p[1])
	_ = unix.Close(p[1]) // the child's copy is the one that counts
	if errno != 0 {
		return 0, false, errno
	}
	defer func() {
		// It has ended or it hangs; killing a dead child of ours does nothing.
		_ = unix.Kill(int(pid), unix.SIGKILL)
		var ws unix.WaitStatus
		for {
			// __WALL, as a child without an exit signal is invisible to other waits: nobody who
			// reaps strangers takes this one.
			_, werr := unix.Wait4(int(pid), &ws, unix.WALL, nil)
			if errors.Is(werr, unix.EINTR) {
				continue
			}
			killed = werr == nil && ws.Signaled() && ws.Signal() == unix.SIGSYS
			break
		}
		if err == nil && done < len(batch) && !killed {
			err = errors.New("the trying child ended early")
		}
	}()
	const size = int(unsafe.Sizeof(outcome{}))
	var buf []byte
	for deadline := time.Now().Add(childPatience); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return done, false, errors.New("the trying child hangs")
		}
		fds := []unix.PollFd{{Fd: int32(p[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return done, false, err
		}
		var in [1024]byte
		n, rerr := unix.Read(p[0], in[:])
		if errors.Is(rerr, unix.EAGAIN) || errors.Is(rerr, unix.EINTR) {
			continue
		}
		if rerr != nil {
			return done, false, rerr
		}
		if n == 0 {
			return done, false, nil
		}
		for buf = append(buf, in[:n]...); len(buf) >= size && done < len(batch); done++ {
			batch[done].out = *(*outcome)(unsafe.Pointer(&buf[0]))
			batch[done].tried = true
			buf = buf[size:]
		}
	}
}

// forkAndTry forks and, in the child, makes the calls and writes each outcome to fd. The child is
// a copy of a process with many threads that has only this one: it may use nothing of the Go
// runtime, so it makes raw system calls and nothing else, on a stack that can't grow.
//
//go:norace
//go:nosplit
//go:noinline
func forkAndTry(batch unsafe.Pointer, n, fd int) (pid uintptr, errno syscall.Errno) {
	// No exit signal: cork's reaper hears nothing of this child.
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, 0, 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for i := 0; i < n; i++ {
		c := (*call)(unsafe.Add(batch, uintptr(i)*unsafe.Sizeof(call{})))
		r, _, e := syscall.RawSyscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
		if c.forks && e == 0 && r == 0 {
			break // a grandchild: its parent reports
		}
		c.out.ret, c.out.errno = r, uintptr(e)
		_, _, e = syscall.RawSyscall6(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&c.out)), unsafe.Sizeof(outcome{}), 0, 0, 0)
		if e != 0 {
			break
		}
	}
	for {
		_, _, _ = syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}
