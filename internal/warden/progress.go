package warden

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// keptEvents bounds what Progress remembers. A launch has some dozens of events; only an image
// build or an installation talks more, and its middle is what nobody misses.
const (
	keptFirst = 512
	keptLast  = 1536
)

// Progress is the memory of one launch: whoever follows it, whenever he comes, sees it from the
// start. Its zero value is ready; it is safe for concurrent use.
type Progress struct {
	mu      sync.Mutex
	first   []progress.Event
	last    []progress.Event
	dropped int // events forgotten between first and last
	ended   bool
	changed chan struct{} // closed at the next event; nil when nobody waits
	told    chan struct{} // closed once somebody has the end; nil when nobody has asked for it
	has     bool          // somebody has the end
}

// Told returns a channel that is closed once a follower has been given the launch's end.
func (p *Progress) Told() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told == nil {
		p.told = make(chan struct{})
		if p.has {
			close(p.told)
		}
	}
	return p.told
}

func (p *Progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.has && p.told != nil {
		close(p.told)
	}
	p.has = true
}

// Add appends e. After an event with End all further ones are dropped. It is a progress.Sink.
func (p *Progress) Add(e progress.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = e.End != nil
	if len(p.first) < keptFirst {
		p.first = append(p.first, e)
	} else {
		p.last = append(p.last, e)
		if len(p.last) > 2*keptLast {
			p.dropped += keptLast
			p.last = append(p.last[:0], p.last[keptLast:]...)
		}
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// Follow calls each for every event from the start on, waiting for more, until the launch's end,
// an error of each, or ctx's end.
func (p *Progress) Follow(ctx context.Context, each func(progress.Event) error) error {
	for next := 0; ; {
		events, at, ended, changed := p.from(next)
		next = at + len(events)
		for _, e := range events {
			if err := each(e); err != nil {
				return err
			}
		}
		if ended {
			p.tell()
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// from returns the events from number n on, with the number of the first of them, and a channel
// that is closed when there are more.
func (p *Progress) from(n int) (events []progress.Event, at int, ended bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at = n
	if n < len(p.first) {
		events = append(events, p.first[n:]...)
		n = len(p.first)
	}
	if n < len(p.first)+p.dropped {
		lost := len(p.first) + p.dropped - n
		events = append(events, progress.Event{Time: time.Now(), Line: fmt.Sprintf("(%d lines left out)", lost)})
		// The note stands for what it replaces, so that numbers stay right.
		at += lost - 1
		n += lost
	}
	events = append(events, p.last[n-len(p.first)-p.dropped:]...)
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return events, at, p.ended, p.changed
}
