//go:build linux

package cork

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// killPatience is how long killAll waits for killed processes to be gone. A process stuck in the
// kernel outlives it, until PID 1 exits.
const killPatience = 5 * time.Second

// table is the one place that waits for processes. As PID 1 this process inherits every orphan,
// and a wait for "any child" is the only one that reaps them; it also reaps our own children,
// whose status is then handed to who started them.
type table struct {
	mu      sync.Mutex
	procs   map[int]*proc
	closing bool
	chld    chan os.Signal
	stop    chan struct{}
	reaper  sync.WaitGroup
}

// proc is a process started here, the leader of its own session and group.
type proc struct {
	t      *table
	pid    int
	done   chan struct{} // closed when it was reaped
	status syscall.WaitStatus
}

var errClosing = errors.New("the bottle is closing")

func newTable() *table {
	t := &table{procs: map[int]*proc{}, chld: make(chan os.Signal, 1), stop: make(chan struct{})}
	signal.Notify(t.chld, syscall.SIGCHLD)
	t.reaper.Go(func() {
		for {
			select {
			case <-t.chld:
				t.mu.Lock()
				t.reap()
				t.mu.Unlock()
			case <-t.stop:
				return
			}
		}
	})
	return t
}

// start calls fork, which starts a process, and enters it before anybody can reap it.
func (t *table) start(fork func() (pid int, err error)) (*proc, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return nil, errClosing
	}
	pid, err := fork()
	if err != nil {
		return nil, err
	}
	p := &proc{t: t, pid: pid, done: make(chan struct{})}
	t.procs[pid] = p
	return p, nil
}

// reap collects everything that has ended. It reports whether there are children left.
func (t *table) reap() bool {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return false // ECHILD
		case pid == 0:
			return true
		}
		if p := t.procs[pid]; p != nil {
			delete(t.procs, pid)
			p.status = ws
			close(p.done)
		}
	}
}

// signal sends sig to the process's group, unless the process was reaped: its number may be
// somebody else's then.
func (p *proc) signal(sig syscall.Signal) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if p.t.procs[p.pid] == p {
		_ = syscall.Kill(-p.pid, sig) // it may have ended this moment
	}
}

// killAll forbids new processes and kills all there are. Without being PID 1 it reaches the
// process groups of commands only.
func (t *table) killAll() {
	patience := time.After(killPatience)
	for {
		t.mu.Lock()
		t.closing = true
		if isInit() {
			_ = syscall.Kill(-1, syscall.SIGKILL) // ESRCH: there is nobody left
		} else {
			for pid := range t.procs {
				_ = syscall.Kill(-pid, syscall.SIGKILL) // as above
			}
		}
		left := t.reap() && (isInit() || len(t.procs) > 0)
		t.mu.Unlock()
		if !left {
			return
		}
		select {
		case <-t.chld:
		case <-time.After(50 * time.Millisecond): // the reaper may have taken the signal
		case <-patience:
			return
		}
	}
}

func (t *table) close() {
	t.killAll()
	signal.Stop(t.chld)
	close(t.stop)
	t.reaper.Wait()
}
