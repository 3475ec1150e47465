package native

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/cgroup"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Bottle is a running native bottle.
type Bottle struct {
	session *wire.Session
	ways    wire.Ways
	report  backend.Report
	cork    *child
	group   *cgroup.Group
	limits  backend.Limits
	cleanup spawn.Cleanup

	stop     sync.Once
	stopping chan struct{} // closed to end the bottle
	reason   error         // set before stopping is closed
	done     chan struct{}
	err      error // set before done is closed
	left     error // what could not be removed; the same
}

// Wire implements backend.Bottle.
func (b *Bottle) Wire() *wire.Session { return b.session }

// Ways implements backend.Bottle.
func (b *Bottle) Ways() wire.Ways { return b.ways }

// Report implements backend.Bottle.
func (b *Bottle) Report() backend.Report { return b.report }

// Done implements backend.Bottle.
func (b *Bottle) Done() <-chan struct{} { return b.done }

// Err implements backend.Bottle.
func (b *Bottle) Err() error {
	select {
	case <-b.done:
		return b.err
	default:
		return nil
	}
}

// Stop implements backend.Bottle.
func (b *Bottle) Stop(ctx context.Context) error {
	b.end(nil)
	select {
	case <-b.done:
		return b.left
	case <-ctx.Done():
		return fmt.Errorf("stop the bottle: %w", context.Cause(ctx))
	}
}

// end asks for the bottle's end; the first reason counts, and nil means that it was wanted.
func (b *Bottle) end(reason error) {
	b.stop.Do(func() {
		b.reason = reason
		close(b.stopping)
	})
}

// watch owns the bottle's end: whatever brings it about, everything is taken down here, once, and
// done is closed when that is complete.
func (b *Bottle) watch(folders []string) {
	meter, stopMeter := context.WithCancel(context.Background())
	var metering sync.WaitGroup
	if b.limits.Disk > 0 && len(folders) > 0 {
		metering.Go(func() {
			if err := watchDisk(meter, folders, b.limits.Disk); err != nil {
				b.end(err)
			}
		})
	}
	go func() { // ends when the bottle has; Stop waits for it by done
		select {
		case <-b.stopping:
		case <-b.session.Done():
			b.end(b.lost())
		case <-b.cork.exited:
			b.end(b.lost())
		}
		stopMeter()
		_ = b.session.Close() // never fails
		_ = b.cork.end()      // never fails
		b.ways.Close()
		metering.Wait()
		b.err = b.reason
		b.left = b.cleanup.Run()
		close(b.done)
	}()
}

// lost explains an end that nobody asked for. cork is gone or about to be, and its words are
// complete only then.
func (b *Bottle) lost() error {
	_ = b.cork.end() // never fails
	switch words := b.cork.stderr.last(); {
	case words != "":
		return fmt.Errorf("the bottle's first process ended: %s", words)
	case b.group.OOM():
		return fmt.Errorf("the bottle ran out of its %d MiB of memory", b.limits.Memory>>20)
	}
	return errors.New("the bottle's first process was killed from outside, or the wire to it was cut")
}
