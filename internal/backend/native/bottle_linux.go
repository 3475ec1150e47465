package native

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/meter"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/cgroup"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// Bottle is a running native bottle.
type Bottle struct {
	*backend.Life
	cork    *child
	group   *cgroup.Group
	limits  backend.Limits
	cleanup spawn.Cleanup
}

// watch owns the bottle's end: whatever brings it about, everything is taken down here, once, and
// the life is over when that is complete.
func (b *Bottle) watch(folders []string) {
	metering, stopMeter := context.WithCancel(context.Background())
	var meters sync.WaitGroup
	if b.limits.Disk > 0 && len(folders) > 0 {
		meters.Go(func() {
			if err := meter.Watch(metering, folders, b.limits.Disk); err != nil {
				b.End(err)
			}
		})
	}
	go func() { // ends when the bottle has; Stop waits for it
		select {
		case <-b.Ending():
		case <-b.Session.Done():
			b.End(b.lost())
		case <-b.cork.exited:
			b.End(b.lost())
		}
		stopMeter()
		b.Cut()
		_ = b.cork.end() // never fails
		meters.Wait()
		b.Over(b.cleanup.Run())
	}()
}

// lost explains an end that nobody asked for. cork is gone or about to be, and its words are
// complete only then.
func (b *Bottle) lost() error {
	_ = b.cork.end() // never fails
	switch words := b.cork.stderr.String(); {
	case words != "":
		return fmt.Errorf("the bottle's first process ended: %s", words)
	case b.group.OOM():
		return fmt.Errorf("the bottle ran out of its %d MiB of memory", b.limits.Memory>>20)
	}
	return errors.New("the bottle's first process was killed from outside, or the wire to it was cut")
}
