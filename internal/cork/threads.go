//go:build linux

package cork

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// threads makes confined threads. Limits that are per process are on for moments only, and the
// lock keeps those moments apart.
type threads struct {
	cfg Config
	mu  sync.Mutex
}

// confine makes the calling thread the agent's.
func (t *threads) confine() error {
	if err := t.cfg.Confine(); err != nil {
		return err
	}
	// A change of identity may make the process traceable again, depending on a sysctl of the host.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("stay untraceable: %w", err)
	}
	return nil
}

// confined runs f on a new confined thread and waits for it.
func (t *threads) confined(f func() error) error {
	ready, done := make(chan error, 1), make(chan error, 1)
	t.mu.Lock()
	go spawn.OnOwnThread(func() {
		err := t.confine()
		ready <- err
		if err == nil {
			done <- f()
		}
	})
	err := <-ready
	err = errors.Join(err, t.unbound())
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return <-done
}

// bounded runs all parts at the same time, each on a new confined thread, under the limits of a
// process too, which hold for all of cork meanwhile.
func (t *threads) bounded(parts []func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := make(chan error, len(parts))
	for _, part := range parts {
		go spawn.OnOwnThread(func() {
			err := t.confine() // which sets the limits
			if err == nil {
				part()
			}
			done <- err
		})
	}
	var err error
	for range parts {
		err = errors.Join(err, <-done)
	}
	return errors.Join(err, t.unbound())
}

func (t *threads) unbound() error {
	if t.cfg.Unbound == nil {
		return nil
	}
	return t.cfg.Unbound()
}

// launcher is the one confined thread all programs are started from: they inherit its confinement
// without a helper program in between, and being of one Landlock domain they may signal each
// other.
type launcher struct {
	t    *threads
	jobs chan func()
	once sync.Once
	done chan struct{}
}

func newLauncher(t *threads) (*launcher, error) {
	l := &launcher{t: t, jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	go spawn.OnOwnThread(func() {
		defer close(l.done)
		err := t.confine()
		ready <- err
		if err != nil {
			return
		}
		for job := range l.jobs {
			job()
		}
	})
	if err := errors.Join(<-ready, t.unbound()); err != nil {
		close(l.jobs)
		return nil, err
	}
	return l, nil
}

// do runs f on the launcher's thread.
func (l *launcher) do(f func()) {
	done := make(chan struct{})
	l.jobs <- func() {
		defer close(done)
		f()
	}
	<-done
}

// fork starts a program under the limits of a process. The table's lock is held.
func (l *launcher) fork(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if l.t.cfg.Bound != nil {
		if err := l.t.cfg.Bound(); err != nil {
			return 0, err
		}
	}
	l.do(func() { pid, err = syscall.ForkExec(path, argv, attr) })
	if uerr := l.t.unbound(); uerr != nil && err == nil {
		// The program runs; that cork itself is limited now is the lesser harm.
		return pid, nil
	}
	return pid, err
}

// close ends the thread. No job may be given any more.
func (l *launcher) close() {
	l.once.Do(func() { close(l.jobs) })
	<-l.done
}
