package tui

import (
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// gathered hands events on in handfuls, so that a build that prints ten thousand lines draws no ten
// thousand screens.
type gathered struct {
	mu   sync.Mutex
	some []progress.Event
	due  *time.Timer
	send func([]progress.Event)
}

func gathering(send func([]progress.Event)) *gathered { return &gathered{send: send} }

func (g *gathered) add(e progress.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.some = append(g.some, e); len(g.some) > maxTold {
		g.some = g.some[len(g.some)-maxTold:]
	}
	if g.due == nil {
		g.due = time.AfterFunc(gather, g.flush)
	}
}

// flush hands on what there is.
func (g *gathered) flush() {
	g.mu.Lock()
	some := g.some
	g.some, g.due = nil, nil
	g.mu.Unlock()
	if len(some) > 0 {
		g.send(some)
	}
}
