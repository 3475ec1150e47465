package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The measured processes are of two kinds: helpers, which are this program in another mode, and
// rivals. A helper says hello on its standard output once it serves and ends with its standard
// input, so that none outlives the bench, however that ends.

// helperModes are the first arguments that make this program a helper.
var helperModes = map[string]func(ctx context.Context, args []string) error{
	"upstream": func(ctx context.Context, _ []string) error { return upstreamMain(ctx) },
	"through":  throughMain,
}

// hello is what a helper says: its addresses and its certificate authority.
type hello struct {
	TLS, Plain, Proxy string
	CA                string
}

func sayHello(h hello) error { return json.NewEncoder(os.Stdout).Encode(h) }

// help runs a helper until ctx or standard input ends.
func help(ctx context.Context, mode func(context.Context, []string) error, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // however it ends, the bench has gone
		cancel()
	}()
	err := mode(ctx, args)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

const (
	startWithin = 20 * time.Second // from a process's start until it serves
	stopWithin  = 20 * time.Second // from asking it to end until it is killed
)

// process is a measured one.
type process struct {
	pid   int
	hello hello
	stop  func() // ends it and waits until it has
	ended <-chan struct{}
	words *bytes.Buffer // its standard error, to be read once it has ended
}

// spawn starts argv. It ends by stop or with ctx, politely at first.
func spawn(ctx context.Context, name string, argv []string) (*process, io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWithin
	ended := make(chan struct{})
	p := &process{ended: ended, words: new(bytes.Buffer)}
	cmd.Stderr = p.words
	if _, err := cmd.StdinPipe(); err != nil { // its other end closes with this process
		cancel()
		return nil, nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		cancel()
		return nil, nil, err
	}
	cmd.Stdout = in
	err = cmd.Start()
	_ = in.Close() // it has its own
	if err != nil {
		cancel()
		_ = out.Close()
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = cmd.Process.Pid
	go func() {
		_ = cmd.Wait() // ended by a signal, as a rule
		close(ended)
	}()
	p.stop = func() {
		cancel()
		<-ended
		_ = out.Close()
	}
	return p, out, nil
}

// helper starts this program in a mode and waits for its hello.
func helper(ctx context.Context, mode string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, out, err := spawn(ctx, mode, append([]string{self, mode}, args...))
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(startWithin, p.stop)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	late.Stop()
	if err == nil {
		err = json.Unmarshal(line, &p.hello)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%s said no hello: %w: %s", mode, err, bytes.TrimSpace(p.words.Bytes()))
	}
	return p, nil
}

// rival starts somebody else's program and waits until it listens on addr.
func rival(ctx context.Context, name, addr string, argv []string) (*process, error) {
	p, out, err := spawn(ctx, name, argv)
	if err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process; stop closes out
	limit := time.Now().Add(startWithin)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close() // it was only a knock
			return p, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-p.ended:
			limit = time.Time{} // it never will
		}
		if time.Now().After(limit) || ctx.Err() != nil {
			p.stop()
			return nil, fmt.Errorf("%s does not listen on %s: %w: %s", name, addr, err, bytes.TrimSpace(p.words.Bytes()))
		}
	}
}

// freeAddr returns a loopback address nobody listens on at the moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }() // it is to be free again
	return l.Addr().String(), nil
}

// clockTick is the unit of CPU times in /proc (USER_HZ), the same on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpu returns the CPU time p has used, user's and system's, in ticks of 10 ms; 0 when it can't be
// read.
func (p *process) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
	_, after, _ := bytes.Cut(text, []byte(") "))
	f := strings.Fields(string(after))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64) // the kernel writes numbers
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * clockTick
}

// ownCPU returns the CPU time this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident returns p's resident memory in bytes: now, and at most since the peak was reset.
func (p *process) resident() (now, peak int64, err error) {
	sizes, err := memory(p.pid, "status")
	return sizes["VmRSS"], sizes["VmHWM"], err
}

// memory reads a file of proc(5) about a process that has lines as "Rss: 12 kB", and returns the sizes by
// their names, in bytes.
func memory(pid int, file string) (map[string]int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("/proc/%d/%s: %w", pid, file, err)
			}
			sizes[strings.TrimSuffix(f[0], ":")] = n << 10
		}
	}
	return sizes, nil
}

// resetPeak makes the peak of resident what is resident now: see proc(5), clear_refs.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid), []byte("5"), 0)
}
