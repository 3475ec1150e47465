//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// order is a command to run in the bottle, one JSON object a line.
type order struct {
	ID    int      `json:"id"`
	Argv  []string `json:"argv"`
	Env   []string `json:"env"` // added to the agent's own
	Stdin string   `json:"stdin"`
	// Millis is how long it may take before it is killed.
	Millis int `json:"ms"`
}

// outcome is what became of an order.
type outcome struct {
	ID     int    `json:"id"`
	Code   int    `json:"code"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
	Error  string `json:"error"`
}

// maxOutput bounds what is told of one stream.
const maxOutput = 1 << 20

// loop runs orders side by side until standard input ends, and ends what then still runs. The first line
// it says has the id -1: the agent runs. Its arguments are a mark in its command line and nothing else.
func loop([]string) (any, error) {
	var mu sync.Mutex
	say := func(o outcome) {
		b, err := json.Marshal(o)
		if err != nil {
			return // strings and numbers marshal
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = os.Stdout.Write(append(b, '\n')) // nobody listens any more: the input ends, too
	}
	say(outcome{ID: -1, Code: os.Getpid(), Stdout: os.Getenv("CLAUDE_BOTTLE_ID")})
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	var running sync.WaitGroup
	defer running.Wait()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			return nil, err
		}
		running.Go(func() { say(execute(ctx, o)) })
	}
}

func execute(ctx context.Context, o order) outcome {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.Millis)*time.Millisecond)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Argv[0], o.Argv[1:]...)
	cmd.Env = append(os.Environ(), o.Env...)
	cmd.Stdin = bytes.NewBufferString(o.Stdin)
	var out, errs bounded
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 500 * time.Millisecond // a child of its may hold the streams open
	err := cmd.Run()
	r := outcome{ID: o.ID, Code: cmd.ProcessState.ExitCode(), Stdout: string(out.b), Stderr: string(errs.b)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.Error = err.Error()
	}
	if ctx.Err() != nil {
		r.Error = "timed out"
	}
	return r
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ b []byte }

func (w *bounded) Write(p []byte) (int, error) {
	w.b = append(w.b, p[:min(len(p), maxOutput-len(w.b))]...)
	return len(p), nil
}
