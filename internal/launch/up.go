package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/all"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/egress/authority"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/preset"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/provider/install"
	"github.com/claude-bottle/claude-bottle/internal/selftest"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/wire"
	"github.com/claude-bottle/claude-bottle/internal/workspace"
)

// The steps of a launch, in order, as progress names them.
const (
	stepProgram   = "program"
	stepStart     = "start"
	stepSelfTest  = "self-test"
	stepProvision = "provision"
	stepAgent     = "agent"
)

// bottleUp is a bottle that is up: sealed, proven, provisioned, its agent running.
type bottleUp struct {
	bottle  backend.Bottle
	summary selftest.Summary
	probes  []wire.ProbeResult
	agent   *wire.Process
}

// raising is one launch under way: what it was given, and what it must undo.
type raising struct {
	boot   boot
	env    []string // the warden's own environment, for npm
	dir    *state.Dir
	audit  *audit.Log
	record func(audit.Event) // egress events
	report progress.Sink
	undo   *spawn.Cleanup
	canary canary // empty where the bottle is to have none
}

// up brings the bottle up. On error the caller runs the undo stack, as it does at the end of a
// good life.
func (r *raising) up(ctx context.Context) (*bottleUp, error) {
	p := r.boot.Plan
	template, err := provider.Get(p.Provider.Template)
	if err != nil {
		return nil, err
	}
	program, err := install.Find(ctx, template, install.Options{
		PATH: r.boot.Path, Cache: r.boot.CacheRoot, Env: r.env, Progress: r.report,
	})
	if err != nil {
		return nil, err
	}
	ca, err := authority.New(time.Now())
	if err != nil {
		return nil, err
	}
	if p.DLP.Canary {
		r.canary = newCanary()
	}
	up := &bottleUp{}
	// The host's side of things is made while the kernel makes the bottle's.
	hosting := make(chan hostSide, 1)
	go func() { hosting <- r.hostSide(ctx, ca) }()
	up.bottle, err = r.start(ctx, ca, template, program)
	host := <-hosting
	if host.bait != nil {
		r.undo.Add(host.bait.Close)
	}
	if err = errors.Join(err, host.err); err != nil {
		return nil, err
	}
	r.serve(host.engine, up.bottle)

	if err := r.prove(ctx, up, host.bait); err != nil {
		return nil, err
	}
	setup := provider.Setup{
		Program: program.Path, SystemPrompt: p.SystemPrompt, Prompt: p.Prompt, Headless: p.Headless, Args: p.Args,
		Command: p.Provider.Command, Skills: skillNames(p), Label: p.Label, Color: p.Color,
		Placeholders: p.Placeholders(), Workdir: backend.Workspace,
	}
	if err := r.provision(ctx, up.bottle, template, setup); err != nil {
		return nil, err
	}
	r.report.Line(stepAgent, "starting "+template.Name())
	// The end of ctx would kill the agent, and ctx is the launch's own: it ends when the launch has.
	up.agent, err = wire.Exec(context.WithoutCancel(ctx), up.bottle.Wire(), wire.Command{
		Argv: template.Argv(setup),
		Env:  environment(p, r.boot.inputs(), up.bottle.Report().Env, template.Env(setup), setup.Placeholders, r.boot.Term, r.canary),
		Dir:  backend.Workspace,
		TTY:  !p.Headless, Rows: r.boot.Term.Rows, Cols: r.boot.Term.Cols,
	})
	if err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	return up, nil
}

// hostSide is what decides about the bottle's ways out, and what proves that nothing else is one.
type hostSide struct {
	engine *egress.Engine
	bait   *selftest.Bait
	err    error
}

func (r *raising) hostSide(ctx context.Context, ca *authority.Authority) (h hostSide) {
	rules, err := policy.Compile(r.boot.Plan.Routes, preset.Suggest)
	if err != nil {
		return hostSide{err: err}
	}
	inspector, err := r.inspector()
	if err != nil {
		return hostSide{err: err}
	}
	h.bait, h.err = selftest.Prepare(ctx, selftest.Options{
		Dir: r.dir.Path(""), Limits: r.boot.Plan.Limits.PIDs > 0, PIDs: r.boot.Plan.Limits.PIDs,
		Listed: func(name string) bool { return rules.Resolve(name).Allowed() },
	})
	if h.err != nil {
		return h
	}
	h.engine, h.err = egress.New(egress.Config{
		Policy: rules, Authority: ca, Secrets: r.boot.inputs().Secrets, Record: r.record, Inspector: inspector,
		Control: egress.Control{Host: selftest.ControlHost, Nonce: h.bait.Nonce()},
	})
	return h
}

// start makes the folders the agent writes in and starts the backend.
func (r *raising) start(ctx context.Context, ca *authority.Authority, template provider.Template, program install.Program) (backend.Bottle, error) {
	p := r.boot.Plan
	b, err := all.Get(p.Backend, r.boot.Executable)
	if err != nil {
		return nil, err
	}
	spec := backend.Spec{
		ID: p.ID, Dir: r.dir.Path(""), Hostname: p.Agent.String(), Limits: p.Limits,
		Cache: filepath.Join(r.boot.CacheRoot, "images"),
	}
	mounts := slices.Clone(program.Mounts)
	if p.System != nil {
		spec.System = *p.System
		if len(program.Mounts) > 0 && !p.System.Prebuilt { // it becomes a part of the image
			m := program.Mounts[0]
			spec.System.Program = &backend.Program{Name: template.Name(), Version: program.Version, Dir: m.Source, Target: m.Target}
			mounts = nil
		}
	}
	for target, name := range map[string]string{backend.Home: state.HomeDir, backend.Workspace: state.WorkDir} {
		if err := os.Mkdir(r.dir.Path(name), 0o700); err != nil {
			return nil, err
		}
		mounts = append(mounts, backend.Mount{Source: r.dir.Path(name), Target: target, Writable: true})
	}
	files := []backend.File{{Path: "/etc/profile.d/claude-bottle.sh", Mode: 0o644, Data: []byte(loginPath)}}
	for _, path := range trustAliases {
		files = append(files, backend.File{Path: path, Mode: 0o644, Data: ca.PEM()})
	}
	r.report.Line(stepStart, "sealing a "+p.Backend+" bottle")
	spec.Files, spec.Mounts = files, mounts
	bottle, err := b.Start(ctx, spec, func(line string) { r.report.Line(stepStart, line) })
	if err != nil {
		return nil, err
	}
	r.undo.Add(func() error { return stopBottle(bottle) })
	return bottle, nil
}

// stopWait bounds how long the backend may take to make a bottle disappear.
const stopWait = 20 * time.Second

// stopBottle ends everything in b and waits for that, whatever else has ended already.
func stopBottle(b backend.Bottle) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	return b.Stop(ctx)
}

// serve runs the engine over the bottle's ways out until teardown, which waits for it.
func (r *raising) serve(engine *egress.Engine, b backend.Bottle) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- engine.Serve(ctx, b.Ways()) }()
	r.undo.Add(func() error {
		cancel()
		return <-done
	})
}

// prove runs the self-test and records it; a leak, or a probe that can't tell, ends the launch.
func (r *raising) prove(ctx context.Context, up *bottleUp, bait *selftest.Bait) error {
	ask := bait.Request()
	ask.Narrow = up.bottle.Ways().Narrow
	results, err := wire.Probe(ctx, up.bottle.Wire(), ask)
	if err != nil {
		return fmt.Errorf("the self-test could not run: %w", err)
	}
	up.probes = results
	up.summary, err = selftest.Judge(results, bait)
	if cerr := bait.Close(); cerr != nil { // it has served; teardown closes it again when we don't come here
		err = errors.Join(err, cerr)
	}
	r.report.Line(stepSelfTest, up.summary.String())
	r.audit.Append(audit.Event{Kind: audit.KindSelfTest, Verdict: verdict(err), Text: up.summary.String()})
	record := selftest.NewRecord(time.Now(), results, bait, up.summary, err)
	return errors.Join(err, r.keep(state.SelfTestFile, record))
}

func verdict(err error) string {
	if err != nil {
		return policy.Deny.String()
	}
	return policy.Allow.String()
}

// keep writes v beside the bottle's other records.
func (r *raising) keep(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(r.dir.Path(name), append(b, '\n'), 0o600)
}

// provision fills the agent's home and workspace, through the wire, as the agent.
func (r *raising) provision(ctx context.Context, b backend.Bottle, t provider.Template, s provider.Setup) error {
	home, err := homeTar(ctx, r.boot.Plan, t, s, r.canary)
	if err != nil {
		return fmt.Errorf("prepare the agent's home: %w", err)
	}
	if len(home) > 0 {
		if err := wire.Put(ctx, b.Wire(), backend.Home, bytes.NewReader(home)); err != nil {
			return fmt.Errorf("fill the agent's home: %w", err)
		}
	}
	if from := r.boot.Plan.Workspace.CopyOf; from != "" {
		return r.copyIn(ctx, b, from)
	}
	return nil
}

// copyIn copies the operator's folder into the workspace, with a line every second.
func (r *raising) copyIn(ctx context.Context, b backend.Bottle, from string) error {
	pr, pw := io.Pipe()
	var copied workspace.Copied
	done := make(chan error, 1)
	go func() {
		last := time.Now()
		c, err := workspace.Tar(ctx, from, pw, func(c workspace.Copied) {
			if time.Since(last) >= time.Second {
				last = time.Now()
				r.report.Line(stepProvision, fmt.Sprintf("copying %s: %d files, %d MB", from, c.Files, c.Bytes>>20))
			}
		})
		copied = c
		_ = pw.CloseWithError(err) // never fails
		done <- err
	}()
	err := wire.Put(ctx, b.Wire(), backend.Workspace, pr)
	_ = pr.CloseWithError(err) // ends the writer when the bottle stopped reading
	if werr := <-done; err == nil || ctx.Err() == nil && werr != nil && !errors.Is(werr, err) {
		err = errors.Join(err, werr)
	}
	if err != nil {
		return err
	}
	r.report.Line(stepProvision, fmt.Sprintf("copied %d files of %s to %s", copied.Files, from, backend.Workspace))
	if len(copied.Skipped) > 0 {
		r.report.Line(stepProvision, fmt.Sprintf("left out %d that are no readable file, folder or link, the first: %s", len(copied.Skipped), copied.Skipped[0]))
	}
	return nil
}

func skillNames(p plan.Plan) []string {
	names := make([]string, len(p.Skills))
	for i, s := range p.Skills {
		names[i] = s.Name
	}
	return names
}
