package docker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// Bottle is a running container with its wire.
type Bottle struct {
	*backend.Life
	start *start
}

// watch owns the bottle's end: whatever brings it about, everything is taken down here, once, and
// the life is over when that is complete.
func (b *Bottle) watch() {
	metering, stopMeter := context.WithCancel(context.Background())
	var meters sync.WaitGroup
	if limit := b.start.spec.Limits.Disk; limit > 0 && b.start.who.shared {
		meters.Go(func() {
			if err := watchDisk(metering, b.start.spec.Mounts, limit); err != nil {
				b.End(err)
			}
		})
	}
	go func() { // ends when the bottle has; Stop waits for it
		select {
		case <-b.Ending():
		case <-b.Session.Done():
			b.End(b.lost())
		}
		stopMeter()
		b.Cut()
		meters.Wait()
		b.Over(b.start.takeDown())
	}()
}

// takeDown ends the container, brings home what the agent left, and removes everything. A copy that
// could not be brought home keeps the container and its volumes: nothing may be lost.
func (s *start) takeDown() error {
	ctx, cancel := context.WithTimeout(context.Background(), takeDownPatience)
	defer cancel()
	if _, carried := s.folders.(*carriedFolders); carried {
		if err := endContainer(ctx, s.engine.API(), s.id); err != nil {
			return errors.Join(err, s.engine.Close())
		}
		if err := s.folders.settle(ctx); err != nil {
			return errors.Join(err, s.engine.Close())
		}
	}
	return s.undo.Run()
}

// takeDownPatience bounds the end of a bottle, copying out included.
const takeDownPatience = 10 * time.Minute

// lost explains an end that nobody asked for.
func (b *Bottle) lost() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := b.start
	_ = endContainer(ctx, s.engine.API(), s.id) // its end is what is explained here
	var oom bool
	if c, err := s.engine.API().ContainerInspect(ctx, s.id, client.ContainerInspectOptions{}); err == nil && c.Container.State != nil {
		oom = c.Container.State.OOMKilled
	} else if err != nil {
		return fmt.Errorf("the wire to the container was cut, and the engine does not answer: %w", explain(err))
	}
	s.attached.settle()
	switch words := s.words.String(); {
	case words != "":
		return fmt.Errorf("the bottle's first process ended: %s", words)
	case oom && s.spec.Limits.Memory > 0:
		return fmt.Errorf("the bottle ran out of its %d MiB of memory", s.spec.Limits.Memory>>20)
	}
	return errors.New("the container was ended from outside, or the wire to it was cut")
}
