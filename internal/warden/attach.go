package warden

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/session"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// attach hands a terminal to the session.
func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	current := s.currentSession()
	if current == nil {
		fail(w, http.StatusConflict, errNotStarted)
		return
	}
	view, err := viewOf(r)
	if err == nil && r.Header.Get("Upgrade") != AttachProtocol {
		err = fmt.Errorf("attach needs the header Upgrade: %s", AttachProtocol)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	c, err := current.Attach(view)
	if err != nil {
		fail(w, http.StatusTooManyRequests, err)
		return
	}
	s.attaching.Add(1)
	defer s.attaching.Done()
	defer c.Close()
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{}) // fails only when the connection has, which the next line tells
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %t\r\n\r\n",
		AttachProtocol, TTYHeader, current.TTY())
	if err != nil {
		return
	}
	s.carry(c, conn, wire.NewFrameReader(buf, wire.MaxFrame))
}

// TTYHeader tells an attaching client whether the session has a terminal: "true" or "false".
const TTYHeader = "Claude-Bottle-TTY"

func viewOf(r *http.Request) (session.View, error) {
	rows, err := number(r, "rows", 16)
	cols, err2 := number(r, "cols", 16)
	return session.View{
		Rows: uint16(rows), Cols: uint16(cols),
		History: r.URL.Query().Get("history") == "1",
	}, errors.Join(err, err2)
}

// carry moves frames both ways until either side ends.
func (s *Server) carry(c *session.Client, conn net.Conn, in *wire.FrameReader) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		defer cancel()
		takeIn(c, in)
	})
	both.Go(func() {
		select {
		case <-s.closing:
		case <-ctx.Done():
		}
		// Whichever side ended, this wakes the other: from a read or write of the connection, and
		// from waiting for the session.
		c.Close()
		_ = conn.Close() // it is over in any case
	})
	giveOut(ctx, c, wire.NewFrameWriter(conn))
	cancel()
}

// takeIn does what the client's frames say, until one can't be read or makes no sense.
func takeIn(c *session.Client, in *wire.FrameReader) {
	for {
		f, err := in.Next()
		if err != nil {
			return // the client left, or talks nonsense and is left
		}
		switch f.Type {
		case wire.FrameStdin:
			_, err = c.Write(f.Payload)
		case wire.FrameEOF:
			err = c.CloseInput()
		case wire.FrameResize:
			var rows, cols uint16
			if rows, cols, err = f.ResizeOf(); err == nil {
				c.Resize(rows, cols)
			}
		case wire.FrameSignal:
			// It may come just after the agent's end; the client will see that.
			_ = c.Signal(string(f.Payload))
		default:
			return
		}
		// Input to an agent that has ended is lost, as everywhere; its end is on the way out.
		if err != nil && !errors.Is(err, session.ErrEnded) {
			return
		}
	}
}

// giveOut sends what the session shows, to its end.
func giveOut(ctx context.Context, c *session.Client, out *wire.FrameWriter) {
	for {
		o, err := c.Next(ctx)
		if err != nil {
			return
		}
		switch {
		case o.Exit != nil:
			err = out.Exit(*o.Exit)
		case o.Stream == session.Stderr:
			err = out.Write(wire.FrameStderr, o.Data)
		default:
			err = out.Write(wire.FrameStdout, o.Data)
		}
		if err != nil || o.Exit != nil {
			return
		}
	}
}
