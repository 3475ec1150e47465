package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/tmux"
	"github.com/claude-bottle/claude-bottle/internal/tui"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

type dashboardOptions struct{ once, asJSON bool }

func (a *app) dashboardCommand() *cobra.Command {
	var o dashboardOptions
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Every bottle on one screen",
		Long: `Every bottle on one screen: what runs, what it asks of the world, what was decided.

Bottles don't belong to it: leave it, and they go on. In tmux a bottle's session is
shown in a pane beside it. claude-bottle alone, in a terminal, is the same. In it ? shows the keys.`,
		Example: "  claude-bottle dashboard\n  claude-bottle dashboard --once\n  claude-bottle dashboard --once --json | jq -r '.[].id'",
		Args:    noArgs,
		GroupID: groupBottles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.asJSON && !o.once {
				return usageError{"--json goes with --once: a screen is no data", seeHelp(cmd)}
			}
			return a.dashboard(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&o.once, "once", false, "print what the screen would show, and leave")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "with --once: print what the screen knows as JSON")
	return cmd
}

func (a *app) dashboard(ctx context.Context, o dashboardOptions) error {
	if _, err := a.ensureManifests(); err != nil {
		return err
	}
	h, err := a.screenHost()
	if err != nil {
		return err
	}
	switch {
	case o.asJSON:
		return tui.OnceJSON(ctx, h, a.sys.Stdout)
	case o.once:
		w, height, err := term.GetSize(int(a.sys.Stdout.Fd()))
		if err != nil {
			w, height = 120, 41
		}
		return tui.Once(ctx, h, a.sys.Stdout, w, height-1, a.sys.styleFor(a.sys.Stdout).on)
	case !isTerminal(a.sys.Stdin) || !isTerminal(a.sys.Stdout):
		return withHint(errors.New("a dashboard needs a terminal"), "claude-bottle dashboard --once prints what it would show")
	}
	options := tui.Options{}
	if p := tmux.Beside(a.sys.LookupEnv); p != nil {
		options.Tmux = p
	}
	err = tui.Run(ctx, h, options, tea.WithInput(a.sys.Stdin), tea.WithOutput(a.sys.Stdout))
	if err != nil {
		return err
	}
	if n := h.running(ctx); n > 0 {
		putf(a.sys.Stderr, "%s on; claude-bottle comes back to them\n", count(n, "bottle runs", "bottles run"))
	}
	return nil
}

// pickRequest has the operator put together, in the dashboard's pickers, what r leaves open.
func (a *app) pickRequest(ctx context.Context, r *request) error {
	h, err := a.screenHost()
	if err != nil {
		return err
	}
	known := tui.Request{Backend: r.backend, Bottles: r.bottles, Label: r.label, Color: r.color}
	got, ok, err := tui.Pick(ctx, h, known, tea.WithInput(a.sys.Stdin), tea.WithOutput(a.sys.Stdout))
	switch {
	case err != nil:
		return err
	case !ok:
		return refusedError{"no agent was chosen", ""}
	}
	r.agent, r.backend, r.bottles, r.label, r.color = got.Agent, got.Backend, got.Bottles, got.Label, got.Color
	return nil
}

// screenHost is the program as the dashboard sees it.
type screenHost struct {
	a     *app
	store *state.Store
	exe   string
}

func (a *app) screenHost() (*screenHost, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	exe, err := a.sys.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own program: %w", err)
	}
	return &screenHost{a, store, exe}, nil
}

// Bottles implements tui.Host.
func (h *screenHost) Bottles(ctx context.Context) ([]state.Entry, error) { return h.store.List(ctx) }

func (h *screenHost) running(ctx context.Context) (n int) {
	entries, err := h.store.List(ctx)
	if err != nil {
		return 0 // it is no more than a word at the end
	}
	for _, e := range entries {
		if e.Alive {
			n++
		}
	}
	return n
}

// Warden implements tui.Host.
func (h *screenHost) Warden(e state.Entry) tui.Warden {
	return client.Dial(e.Dir.Path(state.SocketFile))
}

// LastOutput implements tui.Host: the recording is written as the session goes on.
func (h *screenHost) LastOutput(e state.Entry) time.Time {
	st, err := os.Stat(e.Dir.Path(state.CastFile))
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// LastEvent implements tui.Host: a log that has not changed is not read again.
func (h *screenHost) LastEvent(e state.Entry, seen time.Time) (event audit.Event, at time.Time, ok bool) {
	path := e.Dir.Path(state.AuditFile)
	st, err := os.Stat(path)
	if err != nil || st.ModTime().Equal(seen) {
		return event, seen, false
	}
	event, err = audit.Last(path)
	return event, st.ModTime(), err == nil
}

// Policy implements tui.Host.
func (h *screenHost) Policy(e state.Entry) []string {
	text, err := os.ReadFile(e.Dir.Path(state.PlanFile))
	var p plan.Plan
	if err != nil || json.Unmarshal(text, &p) != nil {
		return nil // it is just being written, or broken, which its state tells
	}
	return preflight{plan: p}.egress(style{true})
}

// Stop implements tui.Host.
func (h *screenHost) Stop(ctx context.Context, e state.Entry) error {
	return stopBottle(ctx, client.Dial(e.Dir.Path(state.SocketFile)), e.Dir, "stopped by the operator", stopGrace)
}

// own is our program with arguments, for the same home.
func (h *screenHost) own(args ...string) *exec.Cmd {
	if h.a.homeFlag != "" {
		args = append([]string{"--home", h.a.homeFlag}, args...)
	}
	return exec.Command(h.exe, args...)
}

// Attach implements tui.Host.
func (h *screenHost) Attach(id string) *exec.Cmd { return h.own("attach", id) }

// Logs implements tui.Host.
func (h *screenHost) Logs(id string, launch bool) *exec.Cmd {
	if launch {
		return h.own("logs", id, "--launch", "--follow")
	}
	pager := cmp.Or(h.a.sys.getenv("PAGER"), "less")
	if _, err := exec.LookPath(pager); err != nil {
		return h.own("logs", id)
	}
	// The words are passed as arguments, so that none of them is a program of the shell's.
	args := append([]string{"-c", `pager=$1; shift; "$@" | "$pager"`, "sh", pager}, h.own("logs", id).Args...)
	return exec.Command("/bin/sh", args...)
}

// Edit implements tui.Host.
func (h *screenHost) Edit(path string) *exec.Cmd {
	editor := cmp.Or(h.a.sys.getenv("VISUAL"), h.a.sys.getenv("EDITOR"), "vi")
	words := strings.Fields(editor) // as git takes it: a program with its options
	return exec.Command(words[0], append(words[1:], path)...)
}

// Check implements tui.Host.
func (h *screenHost) Check() error {
	m, err := h.a.manifests()
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range m.Errors() {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// Choices implements tui.Host.
func (h *screenHost) Choices() (tui.Choices, error) {
	m, err := h.a.manifests()
	if err != nil {
		return tui.Choices{}, err
	}
	c := tui.Choices{Colors: plan.Colors()}
	for _, s := range m.Summaries() {
		c.Agents = append(c.Agents, tui.Choice{Name: s.Name.String(), About: safe(s.Description), Path: s.Path, Broken: s.Broken})
	}
	home, err := h.a.home()
	if err != nil {
		return c, err
	}
	for _, name := range m.Bottles() {
		c.Bottles = append(c.Bottles, tui.Choice{Name: name, Path: filepath.Join(home, "bottles", name+".md")})
	}
	for _, f := range h.a.backendFacts() {
		if f.Ready {
			c.Backends = append(c.Backends, tui.Choice{Name: f.Name, About: safe(f.At)})
		}
	}
	return c, nil
}

// Prepare implements tui.Host.
func (h *screenHost) Prepare(r tui.Request) (tui.Preflight, error) {
	m, err := h.a.manifests()
	if err != nil {
		return nil, err
	}
	p, err := h.a.prepare(m, request{agent: r.Agent, backend: r.Backend, bottles: r.Bottles, label: r.Label, color: r.Color})
	if err != nil {
		return nil, err
	}
	return screenPreflight{h.a, p}, nil
}

// screenPreflight is a preflight as the dashboard shows it.
type screenPreflight struct {
	a *app
	p preflight
}

// ID implements tui.Preflight.
func (s screenPreflight) ID() string { return s.p.plan.ID.String() }

// Lines implements tui.Preflight.
func (s screenPreflight) Lines(width int) []string {
	var text bytes.Buffer
	s.p.printWide(&text, style{true}, width)
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}

// Obstacle implements tui.Preflight.
func (s screenPreflight) Obstacle() string {
	if stops := s.p.plan.Stops(); len(stops) > 0 {
		return "this can't be launched: see what says \"stop\" above"
	}
	for _, e := range s.p.plan.Env {
		if e.Source == plan.EnvPrompt {
			return "it asks for " + e.Name + " at launch: claude-bottle start " + s.p.plan.Agent.String()
		}
	}
	return ""
}

// Launch implements tui.Preflight.
func (s screenPreflight) Launch(ctx context.Context, each func(progress.Event)) error {
	options, err := s.a.resolved(ctx, s.p, true)
	if err != nil {
		return err
	}
	_, err = s.a.raise(ctx, options, each)
	return err
}

// stopGrace is how long an agent has to end by itself when its operator says no more than stop.
const stopGrace = 5 * time.Second
