// Package session is the agent's terminal: one process of a bottle, whoever watches it, and the
// record of what it showed. Terminals come and go (Attach), several at once; the process notices
// nothing but the size. Everything it writes goes through escape.Filter before it is emulated,
// recorded or shown, since it is hostile.
//
//	s := session.New(session.Config{TTY: true, Rows: 40, Cols: 120})
//	go func() { exit, err = s.Run(ctx, process) }()
//	c, err := s.Attach(session.View{Rows: 40, Cols: 120})
//	for { out, err := c.Next(ctx); ... }
//
// With a terminal, the session has the smallest of the attached sizes, so that every attached
// terminal shows all of it. A terminal of exactly that size gets the stream itself; a larger one,
// where the stream's line wraps would fall elsewhere, gets repaints, at most thirty a second. One
// that can't keep up loses its queue and is repainted: it never holds up the agent and never
// costs more than its queue.
//
// Without a terminal, standard output and error are kept apart and nothing is lost: what comes
// before the first client is kept up to a bound and then holds up the agent, as a full pipe would;
// so does a client that doesn't read. When all clients have left, the end of the output is kept.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/session/cast"
	"github.com/claude-bottle/claude-bottle/internal/session/escape"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Errors a caller branches on.
var (
	// ErrDetached is returned by a client's methods after its Close.
	ErrDetached = errors.New("detached from the session")
	// ErrTooMany is returned by Attach when the session has all the clients it takes.
	ErrTooMany = errors.New("too many terminals are attached already; detach one")
	// ErrEnded is returned by input to a process that has ended.
	ErrEnded = errors.New("the session has ended")
)

// Process is the running program as a session needs it: the fields and methods of a wire.Process.
type Process struct {
	// Stdin is closed by the session, once.
	Stdin io.WriteCloser
	// Stdout and Stderr are read to their end. When they are io.Closers the session closes them
	// once the program has ended, since a background child could hold them open for ever. Stderr is
	// not touched when the program has a terminal.
	Stdout, Stderr io.Reader
	// Resize may be nil without a terminal.
	Resize func(rows, cols uint16) error
	// Signal sends the signal called name: "SIGTERM".
	Signal func(name string) error
	// Wait returns when the program has ended or its bottle has; its output may have more to read.
	Wait func() (wire.Exit, error)
}

// Bounds of a session.
const (
	defaultRows, defaultCols = 24, 80
	maxClients               = 16
	maxQueue                 = 256 << 10 // bytes waiting for one terminal before it is repainted
	defaultPipe              = 1 << 20
	inputQueue               = 64 // messages of at most maxInput bytes
	maxInput                 = 32 << 10
	readSize                 = 32 << 10
	repaintEvery             = time.Second / 30
	// drain is how long after the program's end its output may still come: a background child
	// may hold the terminal open for ever.
	drain = 500 * time.Millisecond
	// looks is how many waits that is, one after the other: a machine so busy that all of us stood still
	// for a while has then still to let the output be read in between.
	looks = 5
)

// Config is how a session is to be. The zero Config is a session without a terminal and without
// a record.
type Config struct {
	TTY bool
	// Rows and Cols are the size until somebody attaches; zero means 24 by 80.
	Rows, Cols uint16
	// Cast records the session, and is closed by Run; nil records nothing.
	Cast *cast.Writer
	// Pipe bounds what is kept of the output without a terminal, in bytes; zero means 1 MiB.
	Pipe int
	// Unattended says that nobody is expected to attach: without a terminal, a full buffer then
	// loses its oldest part instead of holding up the agent.
	Unattended bool
	// Notify is told in words who attached and detached, and of sizes. It may be nil. It is called
	// with the session locked: it must neither block nor call back.
	Notify func(text string)
}

// Session is one process and its watchers. All methods are safe for concurrent use.
type Session struct {
	cfg Config

	mu      sync.Mutex
	process *Process // nil before Run
	screen  *screen  // nil without a terminal
	pipe    *pipe    // nil with one
	clients []*Client
	nextID  int
	exit    *wire.Exit
	// fault is why there is no exit, when Run failed.
	fault error

	input     chan message
	done      chan struct{} // closed when exit or fault is set
	delivered chan struct{} // closed when a client has seen the end
}

// message is something for the process's standard input: bytes, or its end.
type message struct {
	data []byte
	eof  bool
}

// New makes a session. Clients may attach before Run, and wait.
func New(cfg Config) *Session {
	if cfg.Rows == 0 || cfg.Cols == 0 {
		cfg.Rows, cfg.Cols = defaultRows, defaultCols
	}
	cfg.Rows, cfg.Cols = bounded(cfg.Rows, cfg.Cols)
	if cfg.Pipe <= 0 {
		cfg.Pipe = defaultPipe
	}
	if cfg.Notify == nil {
		cfg.Notify = func(string) {}
	}
	s := &Session{
		cfg:       cfg,
		input:     make(chan message, inputQueue),
		done:      make(chan struct{}),
		delivered: make(chan struct{}),
	}
	if cfg.TTY {
		s.screen = newScreen(int(cfg.Rows), int(cfg.Cols))
	} else {
		s.pipe = newPipe(&s.mu, cfg.Pipe, cfg.Unattended)
	}
	return s
}

// Run carries p's input and output until p ends or ctx does, hands its exit to every client, and
// closes the record. It is called once. When ctx ends first, clients see the session end with
// ctx's cause; p is the caller's to kill, and Run returns when its Wait and its streams have ended.
func (s *Session) Run(ctx context.Context, p Process) (wire.Exit, error) {
	s.begin(&p)
	var pumps, rest sync.WaitGroup
	rest.Go(func() { s.feed(p.Stdin) })
	if s.screen != nil {
		pumps.Go(func() { s.pumpTerminal(p.Stdout) })
	} else {
		pumps.Go(func() { s.pumpPipe(Stdout, p.Stdout) })
		pumps.Go(func() { s.pumpPipe(Stderr, p.Stderr) })
	}
	drained := make(chan struct{})
	rest.Go(func() { pumps.Wait(); close(drained) })
	var exit wire.Exit
	var err error
	ended := make(chan struct{})
	rest.Go(func() { exit, err = p.Wait(); close(ended) })

	select {
	case <-ended:
		s.settle(ctx, drained)
		s.end(exit, err)
	case <-ctx.Done():
		s.end(wire.Exit{}, context.Cause(ctx))
	}
	for _, r := range []io.Reader{p.Stdout, p.Stderr} {
		if c, ok := r.(io.Closer); ok {
			_ = c.Close() // nothing of it is wanted any more
		}
	}
	rest.Wait()
	if ctx.Err() != nil && err == nil {
		err = context.Cause(ctx)
	}
	s.closeCast()
	return exit, err
}

func (s *Session) begin(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	if s.screen != nil && (s.screen.rows != int(s.cfg.Rows) || s.screen.cols != int(s.cfg.Cols)) {
		_ = p.Resize(uint16(s.screen.rows), uint16(s.screen.cols)) // a process that is gone is found out by Wait
	}
	for _, c := range s.clients {
		c.signal()
	}
}

// settle waits for the rest of the output of a process that has ended. What waits for a client to
// read it is waited for; what a background child may still write is not.
func (s *Session) settle(ctx context.Context, drained <-chan struct{}) {
	for {
		for range looks {
			select {
			case <-drained:
				return
			case <-ctx.Done():
				return
			case <-time.After(drain / looks):
			}
		}
		s.mu.Lock()
		held := s.pipe != nil && s.pipe.held
		if held {
			s.pipe.held = s.pipe.waiting > 0
		}
		s.mu.Unlock()
		if !held {
			return
		}
	}
}

func (s *Session) end(exit wire.Exit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.fault = fmt.Errorf("session: %w", err)
	} else {
		s.exit = &exit
	}
	close(s.done)
	if s.pipe != nil {
		s.pipe.room.Broadcast()
	}
	for _, c := range s.clients {
		c.signal()
	}
}

// closeCast ends the record. One that is not whole, as of a full disk, is no failure of the session.
func (s *Session) closeCast() {
	if s.cfg.Cast == nil {
		return
	}
	if err := s.cfg.Cast.Close(); err != nil {
		s.cfg.Notify("the record is not whole: " + err.Error())
	}
}

// Done is closed when the process has ended and its output was taken in.
func (s *Session) Done() <-chan struct{} { return s.done }

// Delivered is closed when the end was handed to a client for the first time: until then somebody
// may still be on the way to fetch the output of a short process.
func (s *Session) Delivered() <-chan struct{} { return s.delivered }

// TTY reports whether the session has a terminal.
func (s *Session) TTY() bool { return s.cfg.TTY }

// Screen is what the session's terminal shows now, as plain text, a line each; nil where there is none.
// The text is the agent's: it is not inert.
func (s *Session) Screen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.screen == nil {
		return nil
	}
	return strings.Split(s.screen.active.emu.String(), "\n")
}

// Visited reports whether anybody has ever attached.
func (s *Session) Visited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextID > 0
}

// Attached returns how many clients are attached.
func (s *Session) Attached() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// Signal sends the signal called name ("SIGINT") to the process.
func (s *Session) Signal(name string) error {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p == nil || p.Signal == nil {
		return errors.New("session: the agent has not started yet")
	}
	return p.Signal(name)
}

// feed is the only writer of the process's standard input.
func (s *Session) feed(stdin io.WriteCloser) {
	closeOnce := sync.OnceFunc(func() { _ = stdin.Close() }) // a process that ended has closed it first
	defer closeOnce()
	// A process that doesn't read must not keep feed from ending with it.
	stop := make(chan struct{})
	var closer sync.WaitGroup
	closer.Go(func() {
		select {
		case <-s.done:
			closeOnce()
		case <-stop:
		}
	})
	defer closer.Wait()
	defer close(stop)
	broken := false
	for {
		select {
		case <-s.done:
			return
		case m := <-s.input:
			if m.eof {
				closeOnce()
				broken = true
			}
			if !broken {
				_, err := stdin.Write(m.data)
				broken = err != nil // from here on input is read and lost, as by a closed pipe
			}
		}
	}
}

// pumpTerminal takes in what the process shows.
func (s *Session) pumpTerminal(out io.Reader) {
	var filter escape.Filter
	buf := make([]byte, readSize)
	for {
		n, err := out.Read(buf)
		if n > 0 {
			s.mu.Lock()
			filter.Rows = s.screen.rows
			// Clients share it and keep it: it is made anew each time.
			shown := filter.Append(make([]byte, 0, n+n/8), buf[:n])
			s.show(shown, escape.Quiet(shown, filter.Queries()))
			s.mu.Unlock()
		}
		if err != nil {
			return // how the process ended is Wait's to tell
		}
	}
}

// show hands one piece of filtered output to the screen, the record and the clients. The quiet
// variant asks the terminal nothing. s.mu is held.
func (s *Session) show(shown, quiet []byte) {
	answers := s.screen.write(shown)
	if s.cfg.Cast != nil {
		s.cfg.Cast.Output(quiet, s.screen.snapshot)
	}
	asked := false
	for _, c := range s.clients {
		// One terminal answers: two answers would be typed into the program.
		if !asked && c.streams() {
			asked = true
			c.push(shown)
		} else {
			c.push(quiet)
		}
	}
	if s.screen.leftAlt {
		s.screen.leftAlt = false
		for _, c := range s.clients {
			c.refreshMain()
		}
	}
	if !asked && len(answers) > 0 {
		select {
		case s.input <- message{data: answers}:
		default: // the program asks and doesn't read; it gets no answer
		}
	}
}
