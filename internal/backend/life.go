package backend

import (
	"context"
	"fmt"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Life is what every driver's Bottle embeds: what holds it, and its end, asked for once, for one reason,
// over once. Its methods are safe for concurrent use; Session, Outlets and Seal are set before anybody else
// has the bottle.
type Life struct {
	Session *wire.Session
	Outlets wire.Ways
	Seal    Report

	once   sync.Once
	ending chan struct{} // closed to end the bottle
	reason error         // set before ending is closed
	done   chan struct{}
	left   error // what could not be removed; set before done is closed
}

// NewLife returns the Life of a bottle that has just begun.
func NewLife() *Life { return &Life{ending: make(chan struct{}), done: make(chan struct{})} }

// Wire implements Bottle.
func (l *Life) Wire() *wire.Session { return l.Session }

// Ways implements Bottle.
func (l *Life) Ways() wire.Ways { return l.Outlets }

// Report implements Bottle.
func (l *Life) Report() Report { return l.Seal }

// Cut ends the wire and the ways out, which ends everything at their other end.
func (l *Life) Cut() {
	_ = l.Session.Close() // never fails
	l.Outlets.Close()
}

// End asks for the bottle's end; the first reason counts, and nil means that it was wanted.
func (l *Life) End(reason error) {
	l.once.Do(func() {
		l.reason = reason
		close(l.ending)
	})
}

// Ending is closed once somebody has asked for the end.
func (l *Life) Ending() <-chan struct{} { return l.ending }

// Over tells, once, that nothing of the bottle runs any more; left is what could not be removed.
func (l *Life) Over(left error) {
	l.left = left
	close(l.done)
}

// Done implements Bottle.
func (l *Life) Done() <-chan struct{} { return l.done }

// Err implements Bottle.
func (l *Life) Err() error {
	select {
	case <-l.done:
		return l.reason
	default:
		return nil
	}
}

// Stop implements Bottle.
func (l *Life) Stop(ctx context.Context) error {
	l.End(nil)
	select {
	case <-l.done:
		return l.left
	case <-ctx.Done():
		return fmt.Errorf("stop the bottle: %w", context.Cause(ctx))
	}
}
