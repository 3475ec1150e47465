package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/session"
	"github.com/claude-bottle/claude-bottle/internal/session/cast"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// keeper is the warden process: it holds one bottle for its whole life.
type keeper struct {
	boot   boot
	dir    *state.Dir
	server *warden.Server
	audit  *audit.Log
	stop   stopping

	mu    sync.Mutex
	up    *bottleUp // nil until the bottle is up
	tally warden.Egress
}

// WardenMain is the hidden warden command: it reads its orders from the donated pipe "boot", says
// on "ready" that its control socket listens, launches the bottle and keeps it until its end. What
// it prints goes to the bottle's warden.log and is for the case that nothing else works.
func WardenMain(ctx context.Context, args []string) int {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	if err := keep(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, "warden:", err)
		return 1
	}
	return 0
}

func keep(ctx context.Context, args []string) (err error) {
	files, err := spawn.Received(args)
	if err != nil {
		return err
	}
	bootFile, err := files.Take("boot")
	if err != nil {
		return err
	}
	ready, err := files.Take("ready")
	if err != nil {
		return err
	}
	k := &keeper{stop: newStopping()}
	if k.boot, err = readBoot(bootFile); err != nil {
		return err
	}
	_ = bootFile.Close() // read to its end

	store, err := state.Open(k.boot.StateRoot)
	if err != nil {
		return err
	}
	if k.dir, err = store.Get(k.boot.Plan.ID.String()); err != nil {
		return err
	}
	lock, err := k.dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	listener, err := state.ListenSocket(k.dir.Path(state.SocketFile))
	if err != nil {
		return err
	}
	if k.audit, err = audit.Open(k.dir.Path(state.AuditFile), k.boot.Plan.ID.String()); err != nil {
		return errors.Join(err, listener.Close())
	}
	k.server = warden.New(warden.Config{
		Metadata: k.dir.Metadata, Fill: k.fill, Stop: k.stop.ask, Audit: k.dir.Path(state.AuditFile),
	})
	serving, closeServer := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- k.server.Serve(serving, listener) }()
	_, err = ready.Write([]byte{1})
	err = errors.Join(err, ready.Close())

	remove := false
	if err == nil {
		remove, err = k.live(ctx)
		k.tell()
	}
	closeServer()
	if err = errors.Join(err, <-served); remove && err == nil {
		if err = k.audit.Discard(); err == nil {
			return k.dir.RemoveHeld(lock)
		}
	}
	return errors.Join(err, k.audit.Close(), k.dir.Flush())
}

// live is the bottle's whole life; it returns when nothing of the bottle runs. Remove says that
// its folder holds nothing worth keeping.
func (k *keeper) live(ctx context.Context) (remove bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(terminated)

	log, err := os.OpenFile(k.dir.Path(state.LaunchLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	var undo spawn.Cleanup
	r := &raising{boot: k.boot, env: os.Environ(), dir: k.dir, audit: k.audit, undo: &undo, record: k.record, report: func(e progress.Event) {
		_, _ = fmt.Fprintf(log, "%s %-10s %s\n", e.Time.Format("15:04:05.000"), e.Step, e.Line) // a full disk must not end a launch that needs none
		k.server.Progress().Add(e)
	}}
	noted := make(chan error, 1)
	go func() { // beside the launch, which needs none of it
		noted <- errors.Join(k.note(func(m *state.Metadata) error { m.WardenPID = os.Getpid(); return nil }), r.keep(state.PlanFile, k.boot.Plan))
	}()
	// A stop during the launch ends the launch.
	go func() {
		select {
		case <-terminated:
			k.stop.ask("the warden was told to end (SIGTERM)", defaultGrace)
		case <-k.stop.asked:
		case <-ctx.Done():
		}
	}()
	launching, abort := context.WithCancelCause(ctx)
	stopAbort := context.AfterFunc(k.stop.ctx, func() { abort(k.stop.cause()) })
	up, err := r.up(launching)
	stopAbort()
	abort(nil)
	if err = errors.Join(err, <-noted); err != nil {
		if reason := k.stop.reason(); reason != "" {
			err = errors.New(reason) // not what the stop did to the step it came upon
		}
		return false, k.launchFailed(errors.Join(err, undo.Run()))
	}
	k.setUp(up)
	defer spawn.Settle()()
	exit, reason, runErr := k.attend(ctx, up)
	return k.settle(exit, reason, errors.Join(runErr, undo.Run()))
}

// attend runs the agent's session until the agent, the operator or the bottle ends it.
func (k *keeper) attend(ctx context.Context, up *bottleUp) (exit *wire.Exit, reason string, err error) {
	p := k.boot.Plan
	rec, err := cast.Create(k.dir.Path(state.CastFile), cast.Options{Rows: k.boot.Term.Rows, Cols: k.boot.Term.Cols, TTY: !p.Headless})
	if err != nil {
		return nil, "", err
	}
	s := session.New(session.Config{
		TTY: !p.Headless, Rows: k.boot.Term.Rows, Cols: k.boot.Term.Cols, Cast: rec, Unattended: k.boot.Unattended,
		Notify: func(text string) { k.audit.Append(audit.Event{Kind: audit.KindSession, Text: text}) },
	})
	k.server.SetSession(s)
	if err := k.note(func(m *state.Metadata) error { return m.To(bottle.Running) }); err != nil {
		return nil, "", err
	}
	k.server.Progress().Add(progress.Event{Time: time.Now(), Step: stepAgent, End: &progress.End{OK: true}})

	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		k.watch(running, up, s, end)
	}()
	got, err := s.Run(running, session.Process{
		Stdin: up.agent.Stdin, Stdout: up.agent.Stdout, Stderr: up.agent.Stderr,
		Resize: up.agent.Resize, Signal: up.agent.Signal, Wait: up.agent.Wait,
	})
	end(nil)
	<-watched
	if err == nil {
		exit = &got
		// What the agent left running ends while its end is being fetched.
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			_ = stopBottle(up.bottle) // teardown stops it again, and tells
		}()
		k.deliver(s)
		<-stopped
	}
	if err != nil && k.stop.reason() == "" {
		// The wire is gone. The bottle says why, as soon as all of it is gone too.
		select {
		case <-up.bottle.Done():
		case <-time.After(stopWait):
		}
	}
	switch cause := up.bottle.Err(); {
	case k.stop.reason() != "":
		return exit, k.stop.reason(), nil
	case isDone(up.bottle.Done()) && cause != nil:
		return exit, cause.Error(), cause
	}
	return exit, "", err
}

// deliverWait bounds how long the end of an agent that was quicker than its operator's command
// waits for that command to come and fetch it.
const deliverWait = 5 * time.Second

// tell waits until the command that asked for the launch knows how that went: the end may be
// quicker than its question.
func (k *keeper) tell() {
	if k.stop.reason() != "" {
		return // who asked for that doesn't wait for a launch
	}
	select {
	case <-k.server.Progress().Told():
	case <-k.stop.asked:
	case <-time.After(deliverWait):
	}
}

// deliver waits until somebody has seen the session's end, unless nobody is to be expected.
func (k *keeper) deliver(s *session.Session) {
	if k.boot.Unattended || k.stop.reason() != "" || s.Visited() && s.Attached() == 0 {
		return
	}
	select {
	case <-s.Delivered():
	case <-k.stop.asked:
	case <-time.After(deliverWait):
	}
}

// lastWait bounds how long the last words of an agent whose bottle has ended are waited for. They need a
// moment, which can be long where there is much else to do.
const lastWait = 5 * time.Second

// watch ends the session when the bottle dies or a stop was asked for: politely first, then by
// taking the bottle away.
func (k *keeper) watch(ctx context.Context, up *bottleUp, s *session.Session, end context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
		return
	case <-up.bottle.Done():
		// What the agent said last may still be on its way, and so may its exit.
		select {
		case <-s.Done():
		case <-time.After(lastWait):
		}
		end(errors.New("the bottle ended"))
		return
	case <-k.stop.asked:
	}
	_ = s.Signal("SIGTERM") // one that has ended needs none
	select {
	case <-ctx.Done():
	case <-up.bottle.Done():
	case <-s.Done():
	case <-time.After(k.stop.grace()):
	}
	_ = stopBottle(up.bottle) // teardown stops it again, and tells
	select {
	case <-s.Done():
	case <-time.After(lastWait):
	}
	end(k.stop.cause())
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
