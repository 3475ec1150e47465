package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/warden"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Size is a terminal's size in characters.
type Size struct{ Rows, Cols uint16 }

// AttachOptions say what to attach. All but Stdout may be left out.
type AttachOptions struct {
	// Stdin is typed into the agent. When it is an io.Closer it is closed at the end of Attach, and
	// a Read under way must then return; otherwise Attach leaves its last Read behind.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Size is the terminal's size; zero when there is none, or when it takes no part in the
	// session's size.
	Size Size
	// Resize tells new sizes.
	Resize <-chan Size
	// History asks for what scrolled off the screen too.
	History bool
	// Detach are the keys that leave; zero keys never do. They are looked for only when the
	// session has a terminal: plain input is passed as it is.
	Detach Keys
	// Signals, by name ("SIGINT"), are passed on to the agent.
	Signals <-chan string
}

// Result tells how an attach ended.
type Result struct {
	// Exit is set when the agent ended.
	Exit *wire.Exit
	// Detached is true when the operator left by the keys, or the terminal went away.
	Detached bool
	// TTY tells whether the session has a terminal.
	TTY bool
}

// Attach connects a terminal, or plain streams, to the agent, until the agent ends, the operator
// detaches, or ctx ends (the error is then its cause). An error wrapping ErrGone means the warden
// went away without telling an exit.
func (c *Client) Attach(ctx context.Context, o AttachOptions) (Result, error) {
	if o.Stderr == nil {
		o.Stderr = o.Stdout
	}
	conn, buf, tty, err := c.upgrade(ctx, o)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	a := &attachment{AttachOptions: o, tty: tty, out: wire.NewFrameWriter(conn)}
	var sides, reader sync.WaitGroup
	sides.Go(func() { // ends with ctx, which the end of Attach cancels
		<-ctx.Done()
		_ = conn.Close() // it is over in any case
	})
	sides.Go(func() { a.sendEvents(ctx) })
	if o.Stdin != nil {
		reader.Go(func() {
			if err := a.sendInput(); errors.Is(err, errDetached) {
				cancel(errDetached)
			}
		})
	}
	exit, err := a.show(wire.NewFrameReader(buf, wire.MaxFrame))
	cause := context.Cause(ctx)
	cancel(nil)
	sides.Wait()
	if in, ok := o.Stdin.(io.Closer); ok {
		_ = in.Close() // nothing more is wanted of it
		reader.Wait()
	}
	result := Result{Exit: exit, TTY: tty}
	switch {
	case exit != nil:
		return result, nil
	case errors.Is(cause, errDetached):
		result.Detached = true
		return result, nil
	case cause != nil:
		return result, cause
	}
	return result, err
}

// errDetached is the cause of an attach that the operator ended.
var errDetached = errors.New("detached")

// attachment is one Attach under way.
type attachment struct {
	AttachOptions
	tty bool
	out *wire.FrameWriter
}

// upgrade asks for the attach and returns the connection to speak frames on.
func (c *Client) upgrade(ctx context.Context, o AttachOptions) (_ net.Conn, _ *bufio.Reader, tty bool, err error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, nil, false, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close() // the first error is the one to tell
		}
	}()
	q := url.Values{
		"rows": {strconv.Itoa(int(o.Size.Rows))},
		"cols": {strconv.Itoa(int(o.Size.Cols))},
	}
	if o.History {
		q.Set("history", "1")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://warden/v1/attach?"+q.Encode(), nil)
	if err != nil {
		return nil, nil, false, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", warden.AttachProtocol)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // wakes what is under way
	defer stop()
	if err := errors.Join(conn.SetDeadline(time.Now().Add(answerTime)), req.Write(conn)); err != nil {
		return nil, nil, false, gone(err)
	}
	buf := bufio.NewReaderSize(conn, 64<<10)
	resp, err := http.ReadResponse(buf, req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, false, context.Cause(ctx)
		}
		return nil, nil, false, gone(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, nil, false, fault(resp)
	}
	return conn, buf, resp.Header.Get(warden.TTYHeader) == "true", conn.SetDeadline(time.Time{})
}

// show writes what comes until the exit does.
func (a *attachment) show(in *wire.FrameReader) (*wire.Exit, error) {
	for {
		f, err := in.Next()
		if err != nil {
			return nil, gone(err)
		}
		to := a.Stdout
		switch f.Type {
		case wire.FrameStdout:
		case wire.FrameStderr:
			to = a.Stderr
		case wire.FrameExit:
			e, err := f.ExitOf()
			if err != nil {
				return nil, err
			}
			return &e, nil
		default:
			return nil, fmt.Errorf("the warden sent a %s frame while attached", f.Type)
		}
		if _, err := to.Write(f.Payload); err != nil {
			return nil, fmt.Errorf("show the agent's output: %w", err)
		}
	}
}

// sendInput types what the operator does. A terminal that ends is a detach; a plain input that
// ends is the end of the agent's.
func (a *attachment) sendInput() error {
	keys := a.Detach
	buf := make([]byte, 32<<10)
	for {
		n, err := a.Stdin.Read(buf)
		p, leave := buf[:n], false
		if a.tty {
			p, leave = keys.Scan(p)
		}
		if len(p) > 0 {
			if err := a.out.Write(wire.FrameStdin, p); err != nil {
				return err
			}
		}
		switch {
		case leave, err != nil && a.tty:
			return errDetached
		case err != nil:
			return a.out.Write(wire.FrameEOF, nil)
		}
	}
}

// sendEvents passes on sizes and signals until ctx ends. A connection that fails is noticed by
// show.
func (a *attachment) sendEvents(ctx context.Context) {
	resize, signals := a.Resize, a.Signals
	for {
		select {
		case s, ok := <-resize:
			if !ok {
				resize = nil
				continue
			}
			_ = a.out.Resize(s.Rows, s.Cols)
		case s, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			_ = a.out.Write(wire.FrameSignal, []byte(s))
		case <-ctx.Done():
			return
		}
	}
}
