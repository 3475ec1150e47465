package session

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Stream tells the output streams of a process apart.
type Stream uint8

// The streams. A process with a terminal has only Stdout.
const (
	Stdout Stream = iota + 1
	Stderr
)

// View is what attaches.
type View struct {
	// Rows and Cols are the terminal's size; zero when it has none or it is unknown: such a
	// client takes no part in the session's size.
	Rows, Cols uint16
	// History asks for what scrolled off the screen too, before the first paint.
	History bool
}

// Output is one piece of what a client is to show: data, or the end.
type Output struct {
	Stream Stream
	// Data is shared with other clients: it must not be changed.
	Data []byte
	// Exit is set on the last one.
	Exit *wire.Exit
}

// Client is one watcher of a session. One goroutine may call Next while others call the rest.
type Client struct {
	s    *Session
	id   int
	wake chan struct{} // holds one token while there may be news
	gone chan struct{} // closed by Close

	// Guarded by s.mu.
	rows, cols uint16
	queue      [][]byte
	queued     int  // bytes in queue
	stale      bool // what it shows is not what its queue builds upon: to be repainted
	history    bool // the repaint includes what scrolled off
	mirror     bool // it gets repaints only
	mainStale  bool // what it has under the alternate screen is not right
	painted    time.Time
	offset     int64 // without a terminal: how far it has read
	ended      bool
}

// Attach adds a watcher, which must be closed. It is no error to attach to a session that has not
// begun or has ended: the client waits, or gets the last screen, what is left of the output, and
// the end.
func (s *Session) Attach(v View) (*Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.clients) >= maxClients {
		return nil, ErrTooMany
	}
	s.nextID++
	c := &Client{
		s: s, id: s.nextID,
		wake: make(chan struct{}, 1), gone: make(chan struct{}),
		stale: true, history: v.History,
	}
	if v.Rows > 0 && v.Cols > 0 {
		c.rows, c.cols = bounded(v.Rows, v.Cols)
	}
	s.clients = append(s.clients, c)
	if s.pipe != nil {
		c.offset = s.pipe.attach()
	}
	size := ""
	if c.rows > 0 {
		size = fmt.Sprintf(" (%d by %d)", c.cols, c.rows)
	}
	s.cfg.Notify(fmt.Sprintf("terminal %d attached%s", c.id, size))
	s.fit(c)
	c.signal()
	return c, nil
}

// Close detaches. It is idempotent; a Next under way returns ErrDetached.
func (c *Client) Close() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	i := slices.Index(c.s.clients, c)
	if i < 0 {
		return
	}
	c.s.clients = slices.Delete(c.s.clients, i, i+1)
	c.queue, c.queued = nil, 0
	close(c.gone)
	c.s.cfg.Notify(fmt.Sprintf("terminal %d detached", c.id))
	if c.s.pipe != nil {
		c.s.pipe.room.Broadcast()
	}
	c.s.fit(nil)
}

// Next returns what to show next, waiting for it. Data comes in large pieces when there is much.
// After the Output with Exit it returns io.EOF; after Close, ErrDetached; when the session failed,
// why.
func (c *Client) Next(ctx context.Context) (Output, error) {
	for {
		out, wait, err := c.take()
		if err != nil || out.Data != nil || out.Exit != nil {
			return out, err
		}
		var tick <-chan time.Time
		if wait > 0 {
			tick = time.After(wait)
		}
		select {
		case <-c.wake:
		case <-tick:
		case <-c.gone:
			return Output{}, ErrDetached
		case <-ctx.Done():
			return Output{}, context.Cause(ctx)
		}
	}
}

// take returns what is ready, or how long to wait for it (zero: until woken).
func (c *Client) take() (Output, time.Duration, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	select {
	case <-c.gone:
		return Output{}, 0, ErrDetached
	default:
	}
	over := c.s.exit != nil || c.s.fault != nil
	if c.s.pipe != nil {
		if stream, data := c.s.pipe.take(&c.offset); data != nil {
			return Output{Stream: stream, Data: data}, 0, nil
		}
	} else if data, wait := c.nextScreen(over); data != nil || wait > 0 {
		return Output{Stream: Stdout, Data: data}, wait, nil
	}
	return c.nextEnd(over)
}

// nextScreen returns the repaint or the queue, whichever is due.
func (c *Client) nextScreen(over bool) ([]byte, time.Duration) {
	switch {
	case !c.s.screen.used && !over:
		return nil, 0 // what the operator sees now is better than an empty screen
	case c.stale:
		// Only a mirror is repainted in a row; a slow client comes here when it is ready to read.
		if wait := time.Until(c.painted.Add(repaintEvery)); c.mirror && wait > 0 && !over {
			return nil, wait
		}
		data := c.s.screen.repaint(c.history, int(c.rows))
		c.mainStale = c.s.screen.inAlt()
		c.queue, c.queued, c.stale, c.history, c.painted = nil, 0, false, false, time.Now()
		return data, 0
	case c.queued > 0:
		data := c.queue[0]
		if len(c.queue) > 1 {
			data = slices.Concat(c.queue...)
		}
		c.queue, c.queued = nil, 0
		return data, 0
	}
	return nil, 0
}

func (c *Client) nextEnd(over bool) (Output, time.Duration, error) {
	switch {
	case !over:
		return Output{}, 0, nil
	case c.ended:
		return Output{}, 0, io.EOF
	case c.s.fault != nil:
		return Output{}, 0, c.s.fault
	}
	c.ended = true
	select {
	case <-c.s.delivered:
	default:
		close(c.s.delivered)
	}
	return Output{Exit: c.s.exit}, 0, nil
}

// Write types p into the process, waiting while it doesn't read. It returns ErrEnded when there
// is no process any more.
func (c *Client) Write(p []byte) (int, error) {
	n := 0
	for len(p) > n {
		piece := slices.Clone(p[n:min(len(p), n+maxInput)])
		if err := c.send(message{data: piece}); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// CloseInput ends the process's standard input, for good and for everybody. With a terminal it
// does nothing: a terminal that goes away is a detach.
func (c *Client) CloseInput() error {
	if c.s.screen != nil {
		return nil
	}
	return c.send(message{eof: true})
}

func (c *Client) send(m message) error {
	select {
	case <-c.s.done: // first, for select picks any of what is ready
		return ErrEnded
	default:
	}
	select {
	case c.s.input <- m:
		return nil
	case <-c.gone:
		return ErrDetached
	case <-c.s.done:
		return ErrEnded
	}
}

// Signal sends the signal called name to the process.
func (c *Client) Signal(name string) error { return c.s.Signal(name) }

// Resize tells the session this terminal's new size.
func (c *Client) Resize(rows, cols uint16) {
	if rows == 0 || cols == 0 {
		return
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.rows, c.cols = bounded(rows, cols)
	c.s.fit(c)
}

// streams reports whether c gets the output itself and builds on a right screen, so that its
// terminal can answer questions in it.
func (c *Client) streams() bool { return !c.mirror && !c.stale }

// push gives c one more piece to show. s.mu is held.
func (c *Client) push(p []byte) {
	if len(p) == 0 {
		return
	}
	switch {
	case c.mirror:
		c.stale = true
	case c.stale: // the repaint will show it
	case c.queued+len(p) > maxQueue:
		c.repaint()
	default:
		c.queue = append(c.queue, p)
		c.queued += len(p)
	}
	c.signal()
}

// repaint has c shown the whole screen next, in place of what it waits for.
func (c *Client) repaint() {
	c.queue, c.queued, c.stale = nil, 0, true
	c.signal()
}

// refreshMain repaints c when the program left the alternate screen and c attached during it: its
// terminal never had the main screen.
func (c *Client) refreshMain() {
	if c.mainStale {
		c.repaint()
	}
}

func (c *Client) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
