package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Bounds of a Log. Evidence is never overwritten: when all segments are full, only what the warden
// itself does is still recorded, and the rest is counted.
const (
	segmentMax = 32 << 20 // bytes a file may reach before it is set aside
	segments   = 8        // files a log may have, the current one included
	queueMax   = 4096     // events waiting for the disk
	foldEvery  = time.Second
)

// Log appends events to a file. It is safe for concurrent use. Append never waits for the disk:
// a bottle that makes events faster than a person could read them has them folded into counts
// (KindDropped), so that a flood neither fills the disk nor slows traffic.
type Log struct {
	bottle string
	clock  func() time.Time
	wake   chan struct{} // capacity 1
	done   chan struct{} // closed when the writer has ended

	mu     sync.Mutex
	queue  []Event
	gate   gate
	closed bool
	// durable says that a closed log is to survive a power cut.
	durable bool
	err     error // the last failure to write, nil when the last write worked

	file chain // the writer's alone after Open
}

// Open opens or makes the log at path for the bottle (its ID's text), mode 0600, and goes on with
// the chain it finds. A last line that a crash left unfinished is cut off, and that is recorded. A
// last line that is no event of ours is an error: somebody else wrote there.
func Open(path, bottle string) (*Log, error) {
	l, err := open(path, bottle, limits{segment: segmentMax, segments: segments}, time.Now)
	if err != nil {
		return nil, err
	}
	go l.write()
	return l, nil
}

type limits struct {
	segment  int64
	segments int
}

// open makes a Log whose writer has yet to be started.
func open(path, bottle string, lim limits, clock func() time.Time) (*Log, error) {
	l := &Log{
		bottle: bottle, clock: clock,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.gate.start(clock())
	l.file = chain{path: path, lim: lim}
	cut, err := l.file.open()
	if err != nil {
		return nil, fmt.Errorf("audit log %s: %w", path, err)
	}
	if cut > 0 {
		l.queue = append(l.queue, Event{
			Time: clock().UTC(), Bottle: bottle, Kind: KindLifecycle,
			Text: fmt.Sprintf("recovered: %d bytes of an unfinished line were cut off", cut),
		})
		l.kick()
	}
	return l, nil
}

// Append records e. V, Seq, Bottle and Prev are the Log's to set, Time is set when zero, and every
// text is made inert and bounded. Append never blocks and keeps nothing of e but values. After
// Close it does nothing.
func (l *Log) Append(e Event) {
	now := l.clock()
	if e.Time.IsZero() {
		e.Time = now
	}
	e.Time = e.Time.UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if !l.gate.pass(&e, now, len(l.queue) >= queueMax) {
		return
	}
	e.Bottle = l.bottle
	l.queue = append(l.queue, e)
	if len(l.queue) == 1 {
		l.kick()
	}
}

// Err returns why the last write failed, nil when it did not.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close writes what waits, flushes it to the disk and closes the file. Closing twice is no error.
func (l *Log) Close() error { return l.end(true) }

// Discard is Close for a log that is about to be removed: its file is not flushed to the disk.
func (l *Log) Discard() error { return l.end(false) }

func (l *Log) end(durable bool) error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.durable = l.durable || durable
	l.mu.Unlock()
	if first {
		l.kick()
	}
	<-l.done
	return l.Err()
}

func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default: // a wake-up is already on its way
	}
}

// write is the writer: it alone touches the file.
func (l *Log) write() {
	defer close(l.done)
	tick := time.NewTicker(foldEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.wake:
		case <-tick.C:
		}
		l.mu.Lock()
		batch := l.queue
		l.queue = nil
		closed, durable := l.closed, l.durable
		folded := l.gate.flush(l.clock(), closed)
		l.mu.Unlock()
		for i := range folded {
			folded[i].Bottle = l.bottle
			folded[i].Time = l.clock().UTC()
		}
		batch = append(batch, folded...)
		var err error
		if len(batch) > 0 {
			err = l.file.append(batch)
		} else if !closed {
			continue
		}
		if closed {
			err = errors.Join(err, l.file.close(durable))
		}
		l.mu.Lock()
		l.err = err
		if err != nil {
			l.gate.lost(uint64(len(batch)))
		}
		l.mu.Unlock()
		if closed {
			return
		}
	}
}

// exists tells a missing file from one that can't be looked at.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
