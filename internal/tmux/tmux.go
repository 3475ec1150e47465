// Package tmux shows commands in a pane beside the one we are in, and nothing else.
package tmux

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Pane is the pane at the right of ours. It is made by the first Show, and used again by the next.
type Pane struct {
	program string
	ours    string // the pane we are in
	id      string
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

// Show runs a command in the pane, in place of what ran there. Passing through of escape sequences to the
// terminal tmux runs in is switched off for it.
func (p *Pane) Show(ctx context.Context, name string, argv ...string) error {
	command := make([]string, len(argv))
	for i, a := range argv {
		command[i] = quoted(a)
	}
	line := strings.Join(command, " ")
	if p.id != "" {
		if _, err := p.run(ctx, "respawn-pane", "-k", "-t", p.id, line); err == nil {
			return p.dress(ctx, name)
		}
		p.id = "" // somebody closed it
	}
	id, err := p.run(ctx, "split-window", "-h", "-d", "-t", p.ours, "-P", "-F", "#{pane_id}", line)
	if err != nil {
		return err
	}
	if !named(id) {
		return fmt.Errorf("tmux calls the new pane %q", inert.Text(id, maxTitle))
	}
	p.id = id
	return p.dress(ctx, name)
}

// dress names the pane, and has the keys go there.
func (p *Pane) dress(ctx context.Context, name string) error {
	title := strings.Map(func(r rune) rune {
		if r == '#' {
			return -1 // begins what tmux replaces
		}
		return r
	}, inert.Text(name, maxTitle))
	_, err1 := p.run(ctx, "set-option", "-p", "-t", p.id, "allow-passthrough", "off")
	_, err2 := p.run(ctx, "set-option", "-p", "-t", p.id, "remain-on-exit", "on")
	_, err3 := p.run(ctx, "select-pane", "-t", p.id, "-T", title)
	return errors.Join(err1, err2, err3)
}

// Close ends the pane.
func (p *Pane) Close() error {
	if p == nil || p.id == "" {
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
