// Package client talks to a bottle's warden over its control socket. It is all that the command
// line and the dashboard know of wardens.
//
//	c := client.Dial(dir.Path(state.SocketFile))
//	err := c.Progress(ctx, show)
//	result, err := c.Attach(ctx, client.AttachOptions{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
//
// Every call opens its own connection. An error wrapping ErrGone means that no warden answers: the
// bottle has ended, or its warden was killed.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden"
)

// ErrGone is wrapped by every error that means there is no warden, or no longer.
var ErrGone = errors.New("the bottle's warden is gone")

// ErrNotReady is wrapped when the warden is there and the agent has not started yet.
var ErrNotReady = errors.New("the bottle is still being prepared")

// Status is what a warden says of its bottle.
type Status = warden.Status

// Bounds of answers.
const (
	maxAnswer   = 4 << 20
	maxLine     = 1 << 20
	connectTime = 5 * time.Second
	answerTime  = 15 * time.Second
)

// Client talks to one warden. It holds no connection between calls and needs no closing. It is
// safe for concurrent use.
type Client struct {
	path string
	http http.Client
}

// Dial returns a client of the warden whose socket is at path. It doesn't connect yet.
func Dial(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) },
	}
	return c
}

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := state.DialSocket(ctx, c.path)
	if err != nil {
		return nil, gone(err)
	}
	return conn, nil
}

// gone marks the errors by which a missing warden shows.
func gone(err error) error {
	for _, e := range []error{syscall.ENOENT, syscall.ENOTDIR, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w (%w)", ErrGone, err)
		}
	}
	return err
}

// Status asks how the bottle is.
func (c *Client) Status(ctx context.Context) (st Status, err error) {
	err = c.ask(ctx, "/v1/status", &st)
	return st, err
}

// Screen asks what the session's terminal shows, a line each; none where it has no terminal.
func (c *Client) Screen(ctx context.Context) ([]string, error) {
	var s warden.Screen
	err := c.ask(ctx, "/v1/screen", &s)
	return s.Lines, err
}

// ask gets one answer.
func (c *Client) ask(ctx context.Context, path string, to any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	body, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(to); err != nil {
		return fmt.Errorf("warden's answer to %s: %w", path, gone(err))
	}
	return nil
}

// Stop asks the warden to end the bottle for reason; the agent has grace to end by itself. It
// returns when the stop has begun: the end is seen by the state folder's lock, or by Attach.
func (c *Client) Stop(ctx context.Context, reason string, grace time.Duration) error {
	return c.order(ctx, "/v1/stop", warden.StopRequest{Reason: reason, GraceMillis: grace.Milliseconds()})
}

// Signal sends the signal called name ("SIGINT") to the agent.
func (c *Client) Signal(ctx context.Context, name string) error {
	return c.order(ctx, "/v1/signal", warden.SignalRequest{Signal: name})
}

func (c *Client) order(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	body, err := c.call(ctx, http.MethodPost, path, b)
	if err != nil {
		return err
	}
	return body.Close()
}

// Progress calls each for every event of the launch from its start, waiting for more, until the
// one with End, after which it returns nil. A stream that ends before that wraps ErrGone.
func (c *Client) Progress(ctx context.Context, each func(progress.Event)) error {
	ended := false
	err := c.lines(ctx, "/v1/progress", func(line []byte) error {
		var e progress.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("warden's progress: %w", err)
		}
		ended = ended || e.End != nil
		each(e)
		return nil
	})
	if err == nil && !ended {
		err = fmt.Errorf("the launch broke off: %w", ErrGone)
	}
	return err
}

// Audit calls each for the audit events after sequence number from; an error of it ends the stream
// and is returned. With follow it waits for more until ctx ends (whose cause is then returned) or
// the warden does.
func (c *Client) Audit(ctx context.Context, from uint64, follow bool, each func(audit.Event) error) error {
	q := url.Values{"from": {strconv.FormatUint(from, 10)}}
	if follow {
		q.Set("follow", "1")
	}
	return c.lines(ctx, "/v1/audit?"+q.Encode(), func(line []byte) error {
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("audit record: %w", err)
		}
		return each(e)
	})
}

// lines calls each for every line of an answer.
func (c *Client) lines(ctx context.Context, path string, each func([]byte) error) error {
	body, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	scan := bufio.NewScanner(body)
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		if err := each(scan.Bytes()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return gone(scan.Err())
}

// call makes one request and returns the body of a success.
func (c *Client) call(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://warden"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the address in it is made up
		}
		return nil, gone(err)
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, fault(resp)
}

// fault returns what a refusing warden said.
func fault(resp *http.Response) error {
	var f warden.Fault
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxLine)).Decode(&f); err != nil || f.Error == "" {
		f.Error = resp.Status
	}
	if resp.StatusCode == http.StatusConflict {
		return fmt.Errorf("%w: %s", ErrNotReady, f.Error)
	}
	return fmt.Errorf("the bottle's warden refuses: %s", f.Error)
}
