package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

// Verb is the hidden command that Spawn starts and WardenMain answers.
const Verb = "warden"

// wardenLog is the file, in the bottle's folder, that catches what a dying warden prints.
const wardenLog = "warden.log"

// readyWait bounds how long a new warden may take to listen; it needs some ten milliseconds.
const readyWait = 20 * time.Second

// Options say what to start.
type Options struct {
	// Executable is our own binary, absolute.
	Executable string
	Store      *state.Store
	Plan       plan.Plan
	Inputs     Inputs
	// CacheRoot is where installed programs are kept, absolute.
	CacheRoot string
	// Path is the operator's PATH, where agent programs are looked for.
	Path string
	// Env is passed to the warden: the operator's own variables it may use (HOME, proxies for npm,
	// trust stores). Nothing of it reaches the bottle.
	Env  []string
	Term Term
	// Unattended says that nobody is going to attach: a headless agent's output is then kept by
	// the record alone and never held up.
	Unattended bool
}

// Term describes the operator's terminal at launch; the zero Term is a plain one of 80x24.
type Term struct {
	Type  string `json:"type"`  // TERM
	Color string `json:"color"` // COLORTERM
	Rows  uint16 `json:"rows"`
	Cols  uint16 `json:"cols"`
}

// orDefault fills what a caller without a terminal leaves empty.
func (t Term) orDefault() Term {
	if t.Type == "" || t.Type == "dumb" {
		t.Type = "xterm-256color"
	}
	if t.Rows == 0 || t.Cols == 0 {
		t.Rows, t.Cols = 24, 80
	}
	return t
}

// Handle is a bottle whose warden runs.
type Handle struct {
	ID     bottle.ID
	Dir    *state.Dir
	Client *client.Client
}

// Spawn makes the bottle's folder and starts its warden, detached; it returns as soon as the
// warden listens. The launch itself goes on in the warden: follow it with Client.Progress. When
// ctx ends before that, or the warden can't start, nothing is left.
func Spawn(ctx context.Context, o Options) (*Handle, error) {
	dir, err := o.Store.Create(state.Metadata{
		ID: o.Plan.ID, Agent: o.Plan.Agent, Label: o.Plan.Label, Color: o.Plan.Color, Backend: o.Plan.Backend,
		Bottles: o.Plan.Bottles, Started: time.Now(), CopyOf: o.Plan.Workspace.CopyOf, Headless: o.Plan.Headless,
	})
	if err != nil {
		return nil, err
	}
	if err := startWarden(ctx, o, dir); err != nil {
		// The folder is ours, made a moment ago, and holds nothing anybody worked on.
		return nil, errors.Join(err, dir.Remove(context.WithoutCancel(ctx)))
	}
	return &Handle{ID: dir.ID(), Dir: dir, Client: client.Dial(dir.Path(state.SocketFile))}, nil
}

func startWarden(ctx context.Context, o Options, dir *state.Dir) error {
	log, err := os.OpenFile(dir.Path(wardenLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the helper has its own copy
	bootR, bootW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = bootW.Close() }() // closed already on the way without errors
	readyR, readyW, err := os.Pipe()
	if err != nil {
		_ = bootR.Close() // the first error is the one to tell
		return err
	}
	defer func() { _ = readyR.Close() }() // read-only

	h := spawn.Helper{Executable: o.Executable, Verb: Verb, Dir: "/", Env: slices.Concat(o.Env, leak.Env()), Log: log}
	h.Donate("boot", bootR)
	h.Donate("ready", readyW)
	pid, err := h.Start()
	if err = errors.Join(err, bootR.Close(), readyW.Close()); err != nil {
		return err
	}
	err = handOver(ctx, bootW, readyR, boot{
		Plan: o.Plan, Secrets: o.Inputs.revealed(), Env: o.Inputs.Env, StateRoot: o.Store.Root(), CacheRoot: o.CacheRoot,
		Path: o.Path, Unattended: o.Unattended, Term: o.Term.orDefault(), Executable: o.Executable,
	})
	if err == nil {
		return nil
	}
	if p, findErr := os.FindProcess(pid); findErr == nil {
		_ = p.Kill() // gone already is as good
	}
	if errors.Is(err, io.EOF) { // it died without a word on the pipe; its log has the words
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("the bottle's warden ended before it was ready: %s", inert.Lines(lastLines(string(text)), 2000))
	}
	return err
}

// handOver sends the boot message and waits for the warden's word that it listens.
func handOver(ctx context.Context, bootW, readyR *os.File, b boot) error {
	deadline := time.Now().Add(readyWait)
	stop := context.AfterFunc(ctx, func() {
		_ = bootW.SetDeadline(time.Now()) // both pipes take deadlines: they are ours and pollable
		_ = readyR.SetDeadline(time.Now())
	})
	defer stop()
	if err := errors.Join(bootW.SetDeadline(deadline), readyR.SetDeadline(deadline)); err != nil {
		return err
	}
	err := json.NewEncoder(bootW).Encode(b)
	if err = errors.Join(err, bootW.Close()); err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF // a broken pipe: the warden is dead
	}
	if err == nil {
		var word [1]byte
		_, err = io.ReadFull(readyR, word[:])
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the bottle's warden was not ready within %s", readyWait)
	}
	return err
}

// lastLines keeps the end of a log that could be long.
func lastLines(s string) string {
	s = strings.TrimSpace(s)
	if lines := strings.Split(s, "\n"); len(lines) > 12 {
		return strings.Join(lines[len(lines)-12:], "\n")
	}
	if s == "" {
		return "it left no word why"
	}
	return s
}
