// Package tmux shows commands in a pane beside the one we are in, and nothing else.
package tmux

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Pane is the pane at the right of ours. It is made by the first Show, and used again by the next.
//
// It is safe for concurrent use.
type Pane struct {
	program string
	ours    string // the pane we are in

	mu sync.Mutex
	id string
}

// Beside returns the pane beside ours, nil when we are in none or there is no tmux. It reads variables
// and PATH only.
func Beside(lookup func(string) (string, bool)) *Pane {
	where, _ := lookup("TMUX")
	ours, _ := lookup("TMUX_PANE")
	program, err := exec.LookPath("tmux")
	if where == "" || !named(ours) || err != nil {
		return nil
	}
	return &Pane{program: program, ours: ours}
}

// named reports whether s is what tmux calls a pane.
func named(s string) bool {
	rest, ok := strings.CutPrefix(s, "%")
	return ok && rest != "" && strings.Trim(rest, "0123456789") == ""
}

// maxTitle bounds a pane's title, in bytes.
const maxTitle = 60

// idle is what a new pane runs until it is dressed: a command that ends sooner would take the pane along.
const idle = "sleep 1000000"

// Show runs a command in the pane, in place of what ran there. The pane stays when the command ends, and
// passing through of escape sequences to the terminal tmux runs in is switched off for it.
func (p *Pane) Show(ctx context.Context, name string, argv ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	command := make([]string, len(argv))
	for i, a := range argv {
		command[i] = quoted(a)
	}
	line := strings.Join(command, " ")
	if p.id != "" && p.dress(ctx, name) == nil { // else somebody closed it
		if _, err := p.run(ctx, "respawn-pane", "-k", "-t", p.id, line); err == nil {
			return nil
		}
	}
	id, err := p.run(ctx, "split-window", "-h", "-d", "-t", p.ours, "-P", "-F", "#{pane_id}", idle)
	if err != nil {
		return err
	}
	if !named(id) {
		return fmt.Errorf("tmux calls the new pane %q", inert.Text(id, maxTitle))
	}
	p.id = id
	if err := p.dress(ctx, name); err != nil {
		return err
	}
	_, err = p.run(ctx, "respawn-pane", "-k", "-t", p.id, line)
	return err
}

// dress names the pane, and says how it is to behave.
func (p *Pane) dress(ctx context.Context, name string) error {
	title := strings.Map(func(r rune) rune {
		if r == '#' {
			return -1 // begins what tmux replaces
		}
		return r
	}, inert.Text(name, maxTitle))
	for _, args := range [][]string{
		{"set-option", "-p", "-t", p.id, "allow-passthrough", "off"},
		{"set-option", "-p", "-t", p.id, "remain-on-exit", "on"},
		{"select-pane", "-t", p.id, "-T", title},
	} {
		if _, err := p.run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the pane.
func (p *Pane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id == "" {
		return nil
	}
	_, err := p.run(context.Background(), "kill-pane", "-t", p.id)
	p.id = ""
	return err
}

func (p *Pane) run(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, p.program, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, inert.Text(text, 200))
	}
	return text, nil
}

// quoted is a word as the shell takes it that tmux runs commands with.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
