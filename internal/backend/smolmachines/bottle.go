package smolmachines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/guest"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// running is cork in the machine, as its holder sees it.
type running struct {
	listener *net.UnixListener // nil where the wire goes over standard input and output
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      io.ReadCloser
	words    *spawn.Words
	exited   chan struct{} // closed when smolvm's command has ended
	err      error         // how, once exited is closed
}

// Close ends the line that standard input and output are. Cork ends with it.
func (r *running) Close() error                { return errors.Join(r.in.Close(), r.out.Close()) }
func (r *running) Read(p []byte) (int, error)  { return r.out.Read(p) }
func (r *running) Write(p []byte) (int, error) { return r.in.Write(p) }

// corkEnds bounds how long cork may take to end once nobody holds it.
const corkEnds = 10 * time.Second

// end ends cork and waits for it. What doesn't end is killed with the machine.
func (r *running) end() error {
	_ = r.in.Close() // it may be the session's, and closed
	select {
	case <-r.exited:
	case <-time.After(corkEnds):
		_ = r.cmd.Process.Kill() // as above
		<-r.exited
	}
	r.words.Settle()
	_ = r.out.Close() // as above
	return nil
}

// killed reports whether smolvm's command has ended by a signal.
func (r *running) killed() bool {
	select {
	case <-r.exited:
		exit, ok := errors.AsType[*exec.ExitError](r.err)
		return ok && exit.ExitCode() == -1
	default:
		return false
	}
}

// launch starts run in the machine.
func (s *start) launch() error {
	if s.exec == nil {
		s.exec = &running{}
	}
	told, err := json.Marshal(s.setup)
	if err != nil {
		return err
	}
	r := s.exec
	r.words, r.exited = &spawn.Words{}, make(chan struct{})
	// It lives as long as the bottle, not as this launch.
	r.cmd = s.tool.Exec(context.Background(), s.machine.Name, corkPath, backend.CorkCommand, Name, verbRun, string(told))
	r.cmd.ExtraFiles = []*os.File{s.claim.lock} // the claim is held for as long as it runs
	stderr, err := r.words.Pipe()
	if err != nil {
		return err
	}
	defer stderr.Close() // the program has its own copy
	r.cmd.Stderr = stderr
	// Pipes of our own: those of exec's are closed by its Wait, whatever is still in them.
	in, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close() // as above
	mine, out, err := os.Pipe()
	if err != nil {
		return errors.Join(err, ours.Close())
	}
	defer out.Close() // as above
	r.cmd.Stdin, r.cmd.Stdout, r.in, r.out = in, out, ours, mine
	if err := r.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("run cork in the machine: %w", err), ours.Close(), mine.Close())
	}
	go func() { // ends with the program; end waits for it
		defer close(r.exited)
		r.err = r.cmd.Wait()
	}()
	s.undo.Add(r.end)
	return nil
}

// met is what came first of cork: its line, and the report on it.
type met struct {
	line   io.ReadWriteCloser
	report guest.Report
	err    error
}

// meet starts cork, takes its report from wherever it comes, and makes the bottle.
func (s *start) meet(ctx context.Context) (backend.Bottle, error) {
	if err := s.launch(); err != nil {
		return nil, err
	}
	r := s.exec
	came := make(chan met, 2)
	go func() {
		report, err := guest.Receive(r)
		came <- met{r, report, err}
	}()
	if r.listener != nil {
		go func() {
			c, err := r.listener.Accept()
			if err != nil {
				return // closed: cork came the other way, or never
			}
			_ = r.listener.Close() // nobody else is to come
			report, err := guest.Receive(c)
			came <- met{c, report, err}
		}()
	}
	var m met
	timer := time.NewTimer(corkPatience)
	defer timer.Stop()
	select {
	case m = <-came:
	case <-timer.C:
		m.err = fmt.Errorf("cork did not get ready within %v", corkPatience)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	switch {
	case m.err != nil:
		return nil, s.explainSilence(m.err)
	case m.report.Failed != "":
		return nil, fmt.Errorf("inside the bottle: %s", m.report.Failed)
	}
	if r.listener != nil {
		_ = r.listener.Close() // as above
	}
	s.bySocket = m.line != io.ReadWriteCloser(r)
	b := &Bottle{Life: backend.NewLife(), start: s}
	b.Session = wire.NewSession(m.line, wire.Warden)
	b.Outlets = wire.WaysOver(b.Session)
	b.Outlets.Narrow = m.report.Narrow
	b.Seal = s.report(m.report)
	b.watch()
	return b, nil
}

// explainSilence adds what cork or smolvm last said to an error of waiting for it.
func (s *start) explainSilence(err error) error {
	_ = s.exec.end() // the words are complete only then; the undo stack does it again
	if words := s.exec.words.String(); words != "" {
		return s.tool.ExecError(words, err)
	}
	return fmt.Errorf("cork ended without a word: %w", err)
}

// Bottle is a running machine with its wire.
type Bottle struct {
	*backend.Life
	start *start
}

// watch owns the bottle's end: whatever brings it about, everything is taken down here, once, and
// the life is over when that is complete.
func (b *Bottle) watch() {
	go func() { // ends when the bottle has; Stop waits for it
		select {
		case <-b.Ending():
		case <-b.Session.Done():
			b.End(b.lost())
		case <-b.start.exec.exited:
			b.End(b.lost())
		}
		b.Cut()
		b.Over(b.start.takeDown())
	}()
}

// takeDownPatience bounds the end of a bottle, copying out included.
const takeDownPatience = 10 * time.Minute

// takeDown ends cork, brings home what the agent left, and removes everything. What could not be
// brought home keeps the machine and the claim.
func (s *start) takeDown() error {
	ctx, cancel := context.WithTimeout(context.Background(), takeDownPatience)
	defer cancel()
	err := s.exec.end()
	if herr := bringHome(ctx, s.tool, s.spec.ID, s.record.Carried); herr != nil {
		s.kept = true
		err = errors.Join(err, herr)
	}
	return errors.Join(err, s.undo.Run())
}

// lost explains an end that nobody asked for.
func (b *Bottle) lost() error {
	s := b.start
	select {
	case <-s.exec.exited:
		s.exec.words.Settle()
	case <-time.After(corkEnds):
	}
	if words := s.exec.words.String(); words != "" {
		return fmt.Errorf("the bottle's first process ended: %s", words)
	}
	if s.exec.killed() {
		return errors.New("smolvm's command that ran cork was ended from outside")
	}
	ctx, cancel := context.WithTimeout(context.Background(), corkPatience)
	defer cancel()
	now, err := s.tool.Status(ctx, s.machine.Name)
	switch {
	case err != nil:
		return fmt.Errorf("the wire to the machine was cut: %w", err)
	case now.State != "running":
		return fmt.Errorf("the machine has ended: smolvm says it is %s", now.State)
	}
	return errors.New("cork was ended, or the wire to it was cut")
}
