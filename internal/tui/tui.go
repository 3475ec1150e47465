// Package tui is the dashboard: every bottle on one screen. It owns nothing. Wardens live on their own;
// it draws what their state folders and control sockets say, and sends them what the operator types.
//
// One bubbletea model holds all there is to know; panes are functions that draw it into rectangles.
// Whatever takes time is a command whose message comes back. Everything that an agent may have written
// is made inert where it enters the model.
package tui

import (
	"context"
	"os/exec"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

// Host is the rest of the program, as far as a dashboard needs it.
type Host interface {
	// Bottles lists all there are, ended ones whose folder was kept too.
	Bottles(ctx context.Context) ([]state.Entry, error)
	// Warden reaches the warden of a bottle that is alive.
	Warden(e state.Entry) Warden
	// Choices are what a new bottle may be made of. It reads files.
	Choices() (Choices, error)
	// Prepare resolves a request. It starts nothing, opens no connection and asks nobody.
	Prepare(r Request) (Preflight, error)
	// LastOutput is when a bottle's session showed something last; zero when that is not known.
	LastOutput(e state.Entry) time.Time
	// LastEvent is the last thing a bottle did, of which seen is what was the last before; ok is false when
	// there is nothing new.
	LastEvent(e state.Entry, seen time.Time) (event audit.Event, at time.Time, ok bool)
	// Policy says what a bottle may reach, a line each, painted and inert.
	Policy(e state.Entry) []string
	// Stop ends a bottle and waits until it is gone.
	Stop(ctx context.Context, e state.Entry) error
	// Attach is the command that lends the terminal to a bottle's session, Logs the one that pages through
	// what it recorded, Edit the one that opens a file in the operator's editor.
	Attach(id string) *exec.Cmd
	Logs(id string, launch bool) *exec.Cmd
	Edit(path string) *exec.Cmd
	// Check says what is wrong with the manifests, nil when nothing is.
	Check() error
}

// Warden is what the dashboard asks of one.
type Warden interface {
	Status(ctx context.Context) (warden.Status, error)
	// Screen is what the session's terminal shows, inert.
	Screen(ctx context.Context) ([]string, error)
	Audit(ctx context.Context, from uint64, follow bool, each func(audit.Event) error) error
	Attach(ctx context.Context, o client.AttachOptions) (client.Result, error)
}

// Choices are what a new bottle may be made of.
type Choices struct {
	Agents   []Choice
	Backends []Choice // those that are ready, the preferred one first
	Bottles  []Choice
	Colors   []string
}

// Choice is one of them. Text in it is inert.
type Choice struct {
	Name  string
	About string
	// Path is the file that says so; empty for none.
	Path string
	// Broken says that the file has mistakes.
	Broken bool
}

// Request is a new bottle as the operator put it together.
type Request struct {
	Agent, Backend string
	Bottles        []string
	Label, Color   string
}

// Preflight is what the operator says yes to.
type Preflight interface {
	ID() string
	// Lines are what to show, at most width columns wide, painted.
	Lines(width int) []string
	// Obstacle says why it can't be launched; empty when it can.
	Obstacle() string
	// Launch brings the bottle up, telling each thing it does. The error carries what to do in a hint.
	Launch(ctx context.Context, each func(progress.Event)) error
}

// Options say how the dashboard looks and where it is.
type Options struct {
	// Tmux is where sessions are shown when the dashboard runs in tmux; nil outside.
	Tmux Panes
	// Now is the clock.
	Now func() time.Time
}

// Panes show commands beside the dashboard.
type Panes interface {
	// Show runs a command in the pane at the right, which is made the first time.
	Show(ctx context.Context, name string, argv ...string) error
	// Close ends the pane.
	Close() error
}

// Pick lets the operator put a new bottle together in the dashboard's pickers, and nothing else. What known
// says already is not asked. ok is false when they left.
func Pick(ctx context.Context, h Host, known Request, program ...tea.ProgramOption) (r Request, ok bool, err error) {
	m := newModel(ctx, h, Options{})
	m.known = known
	m.picked = func(got Request) { r, ok = got, true }
	_, err = tea.NewProgram(m, append([]tea.ProgramOption{tea.WithContext(ctx)}, program...)...).Run()
	if ctx.Err() != nil {
		return r, false, context.Cause(ctx)
	}
	return r, ok, err
}

// Run shows the dashboard until the operator leaves or ctx ends.
func Run(ctx context.Context, h Host, o Options, program ...tea.ProgramOption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(ctx, h, o)
	p := tea.NewProgram(m, append([]tea.ProgramOption{tea.WithContext(ctx)}, program...)...)
	m.send = p.Send
	_, err := p.Run()
	if o.Tmux != nil {
		_ = o.Tmux.Close() // it is gone when tmux is
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
