// Package demo shows a bottle at work without the internet: a real agent in a real bottle, driven
// by a stand-in of its model's API inside our own binary, trying the door handles one after the
// other. Nothing in it is staged but the model: the bottle, the seal, the proxy and the credential
// injection are those of every launch.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/launch"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/provider/install"
	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/standin"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// Options say where the demo works and what it writes to.
type Options struct {
	Out io.Writer
	// Paint colours text by role ("title", "dim", "good", "bad", "code"); nil leaves it plain.
	Paint func(role, text string) string
	// Launch carries what every launch needs: Executable, CacheRoot, Path, Env. Store, Plan and
	// Inputs are the demo's own.
	Launch launch.Options
	// Backends are the facts prepare needs, Backend the one to use; empty means the first that is ready.
	Backends []backend.Facts
	Backend  string
	// Image names a container image to use as it is, where the backend's bottles have a system of
	// their own; empty means to build one.
	Image string
}

// credentialVar is the variable the demo's credential comes from.
const credentialVar = "ANTHROPIC_API_KEY"

// show is one demo under way.
type show struct {
	Options
	dir   string
	key   secret.Value
	api   *standin.API
	agent bool // a real Claude Code; false is a scripted shell
	acts  []act
	stage stage
	said  string // the agent's standard output
	// narrow says that the bottle's network is: see wire.Ways.
	narrow bool
}

// Run plays the demo and cleans up after itself. The error tells what kept it from being shown; a
// seal that does not hold is an error too.
func Run(ctx context.Context, o Options) (err error) {
	if o.Paint == nil {
		o.Paint = func(_, text string) string { return text }
	}
	dir, err := os.MkdirTemp("", "claude-bottle-demo-")
	if err != nil {
		return err
	}
	s := &show{Options: o, dir: dir, key: secret.New("sk-ant-api03-demo-" + rand.Text()), stage: stage{outputs: map[int]string{}}}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	_, noCurl := os.Stat("/usr/bin/curl") // where the bottle has it, too
	s.acts = play(noCurl == nil)

	s.title("A real agent in a real bottle, offline")
	s.say("The model is a stand-in inside this binary; everything else is what every launch does.")
	if err := s.findAgent(ctx); err != nil {
		return err
	}
	s.api = standin.New(standin.Config{
		Keys:   []standin.Key{{Scheme: "x-api-key", Value: s.key}},
		Script: s.script(),
	})
	model, err := s.api.Start(standin.TLS)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()

	h, p, err := s.launch(ctx, model)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end(h)) }()
	if err := s.follow(ctx, h, p); err != nil {
		return err
	}
	return s.tell(h, p)
}

// findAgent decides who plays: Claude Code, or a shell where it can't be had.
func (s *show) findAgent(ctx context.Context) error {
	claude, err := provider.Get("claude")
	if err != nil {
		return err
	}
	program, err := install.Find(ctx, claude, install.Options{
		PATH: s.Launch.Path, Env: s.Launch.Env, Cache: s.Launch.CacheRoot,
		Progress: func(e progress.Event) { s.dim(e.Line) },
	})
	switch {
	case err == nil:
		s.agent = true
		s.say("The agent is Claude Code " + program.Version + ", all permissions granted.")
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	s.say("Claude Code can't be had here (" + inert.Text(err.Error(), 300) + ").")
	s.say("So a scripted shell plays the agent: the same bottle, the same seal, no intelligence.")
	return nil
}

// launch writes the demo's manifests, plans and starts the bottle.
func (s *show) launch(ctx context.Context, model *standin.Server) (*launch.Handle, plan.Plan, error) {
	if err := s.writeManifests(model); err != nil {
		return nil, plan.Plan{}, err
	}
	m := manifest.Load(os.DirFS(s.dir), s.dir, nil, "")
	instruction := prompt
	if !s.agent {
		instruction = s.shellScript()
	}
	p, err := plan.Build(m, plan.Request{Agent: "genie", Backend: s.Backend, Prompt: instruction, Headless: true}, plan.Host{
		LookupEnv: s.lookup,
		ReadFile:  os.ReadFile,
		Backends:  s.Backends,
		Random:    rand.Reader,
	})
	if err != nil {
		return nil, p, err
	}
	for _, n := range p.Notes {
		if n.Level == plan.Stop {
			return nil, p, errors.New(n.Text)
		}
	}
	store, err := state.Open(filepath.Join(s.dir, "state"))
	if err != nil {
		return nil, p, err
	}
	o := s.Launch
	o.Store, o.Plan = store, p
	o.Inputs = launch.Inputs{Secrets: map[string]secret.Value{}}
	for _, sec := range p.Secrets {
		o.Inputs.Secrets[sec.Name] = s.key
	}
	s.title("Uncorking")
	h, err := launch.Spawn(ctx, o)
	return h, p, err
}

// lookup is the operator's environment as the demo's plan may see it.
func (s *show) lookup(name string) (string, bool) {
	if name == plan.ImageVariable {
		return s.Image, s.Image != ""
	}
	return "is set", name == credentialVar
}

// writeManifests writes the pair that a user would write: one agent, one bottle.
func (s *show) writeManifests(model *standin.Server) error {
	ca := filepath.Join(s.dir, "model-ca.pem")
	template, command := "claude", ""
	if !s.agent {
		template, command = "shell", "\n  command: [bash, -c]"
	}
	auth := ""
	if !s.agent {
		auth = "\n      auth: {scheme: x-api-key, token_ref: " + credentialVar + "}"
	}
	files := map[string]string{
		"model-ca.pem":    model.CA,
		"agents/genie.md": "---\nbottle: demo\n---\nYou are a curious genie. Try every way out.\n",
		"bottles/demo.md": "---\nagent_provider:\n  template: " + template + command + `
egress:
  routes:
    - host: api.anthropic.com` + auth + `
      upstream: {url: "` + model.URL + `", ca: "` + ca + `"}
---
`,
	}
	for name, text := range files {
		path := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// follow shows the launch and waits for the agent's end.
func (s *show) follow(ctx context.Context, h *launch.Handle, _ plan.Plan) error {
	err := h.Client.Progress(ctx, func(e progress.Event) {
		switch {
		case e.End != nil && !e.End.OK:
			s.say(s.Paint("bad", "launch failed: ") + inert.Text(e.End.Error, 2000))
		case e.Line != "":
			s.dim(fmt.Sprintf("%-10s %s", e.Step, e.Line))
		}
	})
	if err != nil {
		return err
	}
	return s.watch(ctx, h)
}

// auditOf reads what the warden wrote down.
func auditOf(h *launch.Handle) ([]audit.Event, error) {
	f, err := os.Open(h.Dir.Path(state.AuditFile))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read-only
	return audit.Read(f)
}

// end stops the bottle and shows that nothing stays.
func (s *show) end(h *launch.Handle) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = h.Client.Stop(ctx, "the demo is over", time.Second) // gone already is as good; what counts is what is left
	for alive := true; alive; {
		var err error
		if alive, err = h.Dir.Alive(); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if ctx.Err() != nil {
			return errors.New("the demo's bottle did not end within 30 s; see: claude-bottle list")
		}
		if alive {
			time.Sleep(20 * time.Millisecond)
		}
	}
	s.title("Over")
	s.say("The bottle is gone: no process, no mount, no file of it is left.")
	return nil
}

func (s *show) title(text string) { _, _ = fmt.Fprintf(s.Out, "\n%s\n", s.Paint("title", text)) } // a closed terminal ends the demo by its signal
func (s *show) say(text string)   { _, _ = fmt.Fprintf(s.Out, "  %s\n", text) }                   // as above
func (s *show) dim(text string)   { s.say(s.Paint("dim", inert.Text(text, 200))) }

// indent shows a block of output below what produced it.
func (s *show) indent(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		s.say("  " + s.Paint("code", strings.TrimRight(line, "\n")))
	}
}
