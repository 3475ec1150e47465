//go:build linux

package cork

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/spawn"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Config is what Serve needs from the backend that built the bottle.
type Config struct {
	// Confine irrevocably gives the calling thread the agent's identity and confinement. It is
	// called on threads that end afterwards or start programs only. Obligatory: there is no
	// unconfined mode.
	Confine func() error
	// Bound and Unbound, when set, put the limits that the kernel keeps per process, not per
	// thread, on this process for the moment a program is started, and take them off again. They
	// are called on unconfined threads, never twice at once. Unbound is also called after Confine.
	Bound, Unbound func() error
	// Probes are the parts of the launch self-test. They are called at the same time, each on a
	// confined thread of its own, while nothing is reaped, so that they may start and wait for
	// processes themselves. The report is their results in this order. None refuses the request.
	Probes []func(wire.ProbeRequest) []wire.ProbeResult
	// MaxCommands bounds the commands running at a time; 0 means 64.
	MaxCommands int
}

// maxCopies bounds the archives packed and unpacked at a time.
const maxCopies = 4

type server struct {
	cfg      Config
	table    *table
	launcher *launcher
	threads  threads
	commands chan struct{} // one token for each command
	copies   chan struct{} // one token for each archive
}

// Serve answers the warden on sess until the wire ends or ctx does, then kills every process in
// the bottle, reaps them and returns: nil after a regular end of the wire, else the reason. It
// takes over the process's signals, children and umask, so it is for a process that does nothing
// else, and before it is called that process must have started no child. Only as PID 1 can it
// kill what left its process group.
func Serve(ctx context.Context, sess *wire.Session, cfg Config) error {
	defer sess.Close()
	if cfg.Confine == nil {
		return errors.New("cork: no confinement was given, so nothing may run")
	}
	if cfg.MaxCommands <= 0 {
		cfg.MaxCommands = 64
	}
	release, err := fortify()
	if err != nil {
		return fmt.Errorf("cork: %w", err)
	}
	defer release()
	s := &server{
		cfg: cfg, table: newTable(),
		threads:  threads{cfg: cfg},
		commands: make(chan struct{}, cfg.MaxCommands),
		copies:   make(chan struct{}, maxCopies),
	}
	defer s.table.close()
	if s.launcher, err = newLauncher(&s.threads); err != nil {
		return fmt.Errorf("cork: %w", err)
	}
	defer s.launcher.close()

	defer spawn.Settle()()
	sess.Handle(wire.KindExec, s.exec)
	sess.Handle(wire.KindPut, s.put)
	sess.Handle(wire.KindGet, s.get)
	sess.Handle(wire.KindProbe, s.probe)
	for {
		st, err := sess.Accept(ctx)
		if err != nil {
			break
		}
		st.Reset("cork does not answer streams of this kind")
	}
	reason := sess.Err()
	if ctx.Err() != nil {
		reason = context.Cause(ctx)
	}
	// First nothing new may start, then everything dies, then the handlers see both.
	_ = sess.Close() // it never fails
	s.table.killAll()
	_ = sess.Wait() // the reason is known
	if errors.Is(reason, wire.ErrGone) || errors.Is(reason, wire.ErrClosed) {
		return nil
	}
	return fmt.Errorf("cork: %w", reason)
}

func (s *server) probe(st *wire.Stream) {
	defer st.Close()
	var req wire.ProbeRequest
	if err := st.Header(&req); err != nil {
		st.Reset(err.Error())
		return
	}
	if len(s.cfg.Probes) == 0 {
		st.Reset("this cork has no self-test")
		return
	}
	results := make([][]wire.ProbeResult, len(s.cfg.Probes))
	parts := make([]func(), len(s.cfg.Probes))
	for i, probe := range s.cfg.Probes {
		parts[i] = func() { results[i] = probe(req) }
	}
	s.table.mu.Lock() // nothing is reaped meanwhile
	err := s.threads.bounded(parts)
	s.table.mu.Unlock()
	if err == nil {
		err = json.NewEncoder(st).Encode(slices.Concat(results...))
	}
	if err != nil {
		st.Reset(err.Error())
	}
}

// isInit reports whether this process is the first of its bottle.
func isInit() bool { return os.Getpid() == 1 }
