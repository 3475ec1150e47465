package wire

import (
	"sync"
	"sync/atomic"
	"time"
)

// deadline is a moment after which one direction of a stream fails. set is called with the
// stream's lock held; passed may be asked without it.
type deadline struct {
	timer  *time.Timer
	round  uint64 // counts settings, so that the timer of an older one changes nothing
	passed atomic.Bool
}

// set arms the deadline, or disarms it when t is zero. mu is the stream's lock; wake is called
// without it when the moment has come.
func (d *deadline) set(t time.Time, mu *sync.Mutex, wake func()) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.round++
	d.passed.Store(false)
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.passed.Store(true)
		return
	}
	mine := d.round
	d.timer = time.AfterFunc(left, func() {
		mu.Lock()
		if d.round == mine {
			d.passed.Store(true)
		}
		mu.Unlock()
		wake()
	})
}
