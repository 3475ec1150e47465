package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// collect reads a client to its end.
func collect(t *testing.T, s *Session) (out, errs string, code int) {
	t.Helper()
	c, err := s.Attach(View{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return drainClient(t, c)
}

func drainClient(t *testing.T, c *Client) (out, errs string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var b [3]bytes.Buffer
	code = -1
	for {
		o, err := c.Next(ctx)
		if errors.Is(err, io.EOF) {
			return b[Stdout].String(), b[Stderr].String(), code
		}
		if err != nil {
			t.Fatal(err)
		}
		if o.Exit != nil {
			code = o.Exit.Code
			continue
		}
		b[o.Stream].Write(o.Data)
	}
}

func TestHeadlessLosesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		pipe   int
		out    int
	}{
		"short, attached after the end":  {"echo out; echo err >&2; exit 3", 0, 4},
		"more than the buffer":           {"head -c 300000 /dev/zero; echo err >&2; exit 3", 64 << 10, 300000},
		"silence":                        {"echo err >&2; exit 3", 0, 0},
		"bytes that are no text or UTF8": {`printf '\377\376\000\033]52;c;x\a'; echo err >&2; exit 3`, 0, 12},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, wait := run(t, Config{Pipe: c.pipe}, pipeProcess(t, "bash", "-c", c.script))
			if c.out <= defaultPipe && c.pipe == 0 {
				<-s.Done()
			}
			out, errs, code := collect(t, s)
			if len(out) != c.out || errs != "err\n" || code != 3 {
				t.Errorf("got %d bytes, errors %q, exit %d", len(out), errs, code)
			}
			wait()
			select {
			case <-s.Delivered():
			default:
				t.Error("the end counts as not delivered")
			}
		})
	}
}

func TestHeadlessHoldsUpUntilSomebodyReads(t *testing.T) {
	t.Parallel()
	s, _ := run(t, Config{Pipe: 32 << 10}, pipeProcess(t, "bash", "-c", "head -c 1000000 /dev/zero"))
	s.mu.Lock()
	for s.pipe.waiting == 0 {
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
	size := s.pipe.size
	s.mu.Unlock()
	if size > 32<<10 {
		t.Errorf("%d bytes are kept", size)
	}
	if out, _, code := collect(t, s); len(out) != 1000000 || code != 0 {
		t.Errorf("got %d bytes, exit %d", len(out), code)
	}
}

func TestUnattendedKeepsTheEnd(t *testing.T) {
	t.Parallel()
	s, wait := run(t, Config{Pipe: 8 << 10, Unattended: true}, pipeProcess(t, "bash", "-c", "head -c 500000 /dev/zero; echo the end"))
	wait()
	if out, _, code := collect(t, s); !strings.HasSuffix(out, "the end\n") || len(out) > 8<<10 || code != 0 {
		t.Errorf("got %d bytes, exit %d", len(out), code)
	}
}

func TestInputReachesTheProcess(t *testing.T) {
	t.Parallel()
	s, _ := run(t, Config{}, pipeProcess(t, "cat"))
	c, err := s.Attach(View{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := strings.Repeat("0123456789", 30000)
	go func() {
		_, err := c.Write([]byte(want))
		if err = errors.Join(err, c.CloseInput()); err != nil {
			t.Error(err)
		}
	}()
	if got, _, _ := drainClient(t, c); got != want {
		t.Errorf("got %d bytes of %d", len(got), len(want))
	}
}

func TestClientsAreBounded(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	for i := range maxClients {
		if _, err := s.Attach(View{}); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := s.Attach(View{}); !errors.Is(err, ErrTooMany) {
		t.Error(fmt.Errorf("one too many: %w", err))
	}
}
