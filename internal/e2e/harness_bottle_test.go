//go:build linux

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// attackBottle is the policy most attacks try to get past.
const attackBottle = `agent_provider:
  template: shell
  command: [/workspace/evil, loop]
env:
  PLANTED: ` + planted + `
limits: {memory: 1GiB, pids: 256, tmp: 64MiB, disk: 1GiB}
egress:
  routes:
    - host: ok.test
      plain: true
      matches:
        - {methods: [GET], paths: [{type: exact, value: /}, {type: prefix, value: /twin}]}
        - {methods: [POST], paths: [{type: prefix, value: /api}]}
    - host: "*.wild.test"
    - host: llm.test
      auth: {scheme: Bearer, token_ref: E2E_TOKEN}
    - host: gateway.test
      upstream: {url: "https://93.184.216.34:8444", ca: /tmp/ca.pem}
    - {host: declared.test, plain: true, networks: [100.64.3.5/32]}
    - {host: meta.test, plain: true, networks: [169.254.0.0/16]}
    - {host: 169.254.170.2, plain: true}
    - {host: cgnat.test, plain: true}
    - {host: bench.test, plain: true}
    - {host: zero.test, plain: true}
    - {host: loop.test, plain: true}
    - {host: private.test, plain: true}
    - {host: ula.test, plain: true}
    - {host: half.test, plain: true}
    - {host: nat64.test, plain: true}`

// sealed is a bottle with evil in it, waiting for orders.
type sealed struct {
	home   *home
	id     string
	dir    string // its state folder
	mark   string // in the command line of the agent
	warden int    // its process id

	cmd   *exec.Cmd
	stdin io.WriteCloser
	errs  bytes.Buffer
	ended chan struct{} // closed when claude-bottle run has
	err   error

	mu      sync.Mutex
	next    int
	waiting map[int]chan outcome
}

// outcome is what became of an order; see evil's own.
type outcome struct {
	ID     int    `json:"id"`
	Code   int    `json:"code"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
	Error  string `json:"error"`
}

// bottle starts a bottle that ends with the test.
func (h *home) bottle(t testing.TB, args ...string) *sealed {
	t.Helper()
	b, err := h.open(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// open starts "claude-bottle run evil" and waits for the agent's first word.
func (h *home) open(args ...string) (*sealed, error) {
	b := &sealed{home: h, mark: "mark-" + filepath.Base(h.dir), ended: make(chan struct{}), waiting: map[int]chan outcome{}}
	b.cmd = h.command(context.Background(), append([]string{"run", "evil", "--cwd", "--prompt", b.mark}, args...)...)
	var err error
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.cmd.Stderr = &b.errs
	hello := make(chan outcome, 1)
	b.waiting[-1] = hello
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process; close waits for it
		defer close(b.ended)
		b.listen(out)
		b.err = b.cmd.Wait()
	}()
	select {
	case o := <-hello:
		b.id = o.Stdout
	case <-b.ended:
		return nil, fmt.Errorf("the bottle did not come up: %v\n%s", b.err, b.errs.String())
	case <-time.After(callTime):
		_ = b.cmd.Process.Kill()
		<-b.ended
		return nil, fmt.Errorf("the bottle did not come up in %v\n%s", callTime, b.errs.String())
	}
	b.dir = h.path("state/" + b.id)
	m, err := b.metadata()
	b.warden = m.WardenPID
	if err == nil {
		err = track(b)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *sealed) metadata() (m state.Metadata, err error) {
	raw, err := os.ReadFile(filepath.Join(b.dir, state.MetadataFile))
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	return m, err
}

// listen sorts what evil says.
func (b *sealed) listen(out io.Reader) {
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var o outcome
		if json.Unmarshal(line, &o) != nil {
			continue // a torn line of a bottle that was killed
		}
		b.mu.Lock()
		c := b.waiting[o.ID]
		delete(b.waiting, o.ID)
		b.mu.Unlock()
		if c != nil {
			c <- o
		}
	}
}

// close ends the bottle as a well-behaved agent does and waits until nothing of it is left.
func (b *sealed) close() error {
	_ = b.stdin.Close() // closed already when a test did
	select {
	case <-b.ended:
		return nil
	case <-time.After(callTime):
		_ = b.cmd.Process.Kill()
		<-b.ended
		return fmt.Errorf("bottle %s did not end with its agent's input\n%s", b.id, b.errs.String())
	}
}

// orderTime bounds an order where nothing else is said; on a kernel of its own the longest takes ten
// seconds at rest.
const orderTime = time.Minute

// background bounds an order that serves a test until its bottle ends, and with it the order.
const background = 5 * time.Minute

// do runs a command in the bottle.
func (b *sealed) do(t testing.TB, argv ...string) outcome {
	t.Helper()
	return b.doWith(t, orderTime, nil, argv...)
}

func (b *sealed) doWith(t testing.TB, d time.Duration, env []string, argv ...string) outcome {
	t.Helper()
	o, err := b.order(d, env, argv...)
	if err != nil {
		t.Fatalf("%q in the bottle: %v", argv, err)
	}
	return o
}

// errGone is why an order is not answered: the bottle is no more.
var errGone = errors.New("the bottle is gone")

func (b *sealed) order(d time.Duration, env []string, argv ...string) (outcome, error) {
	c := make(chan outcome, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waiting[id] = c
	line, err := json.Marshal(map[string]any{"id": id, "argv": argv, "env": env, "ms": d.Milliseconds()})
	if err == nil {
		_, err = b.stdin.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		select {
		case <-b.ended: // it said why
			err = errors.New(b.errs.String())
		default:
		}
		return outcome{}, errors.Join(errGone, err)
	}
	select {
	case o := <-c:
		return o, nil
	case <-b.ended:
		return outcome{}, errors.Join(errGone, errors.New(b.errs.String()))
	case <-time.After(d + 10*time.Second):
		return outcome{}, errors.New("no answer")
	}
}

// evil runs a deed of evil's and reads what it found into a T.
func evil[T any](t testing.TB, b *sealed, args ...string) (v T) {
	t.Helper()
	o := b.do(t, append([]string{"/workspace/evil"}, args...)...)
	if err := json.Unmarshal([]byte(o.Stdout), &v); err != nil {
		t.Fatalf("evil %q: %v: %+v", args, err, o)
	}
	return v
}

// sniffing is how many milliseconds the engine waits for the first words of a program that connects. What
// it decided without them, it decided sooner on any machine, and with them never.
const sniffing = 3000

// The results of deeds, as evil prints them.
type (
	answer struct {
		Status, Connect, Socks                          int
		Reason, Proto, Marker, Header, Body, URL, Error string
		MS                                              int64
	}
	talk struct {
		Connected   bool
		Data, Error string
		MS          int64
	}
	resolution struct {
		RCode     string
		Addresses []string
		Error     string
	}
	amount struct {
		Count, Failed, MS int64
		Error             string
	}
	content struct{ Data, Error string }
	finding struct {
		Hits, PIDs []string
		Files      int
	}
)

func (b *sealed) http(t testing.TB, args ...string) answer {
	t.Helper()
	return evil[answer](t, b, append([]string{"http"}, args...)...)
}

// works is the benign twin: what is allowed goes through, and the good site itself says so.
func (b *sealed) works(t testing.TB, args ...string) {
	t.Helper()
	if a := b.http(t, args...); a.Status != 200 || !strings.HasPrefix(a.Body, "good ") {
		t.Errorf("benign twin %q: %+v", args, a)
	}
}

// refused checks a structured denial: the status, the engine's own mark, and that the body tells
// the reason.
func refused(t testing.TB, a answer, reasons ...string) {
	t.Helper()
	status := a.Status
	if a.Connect != 0 {
		status = a.Connect
	}
	if status != 403 || a.Marker != "denied" {
		t.Errorf("not refused in the engine's way: %+v", a)
	}
	for _, why := range append(reasons, "claude-bottle: denied", "Why: ") {
		if !strings.Contains(a.Body, why) {
			t.Errorf("the denial does not say %q: %+v", why, a)
		}
	}
}

// events reads the audit log.
func (b *sealed) events(t testing.TB) (all []audit.Event) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.dir, state.AuditFile))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			if !bytes.HasSuffix(line, []byte("\n")) {
				break // being written
			}
			t.Fatalf("audit line %s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// audited waits for the denial that is to stand in the audit log and checks its words.
func (b *sealed) audited(t testing.TB, what, why string, match func(audit.Event) bool) audit.Event {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		all := b.events(t)
		i := slices.IndexFunc(all, func(e audit.Event) bool { return e.Verdict == "deny" && strings.Contains(e.Why, why) && match(e) })
		if i >= 0 {
			return all[i]
		}
		if time.Now().After(end) {
			t.Errorf("the audit log has no denial of %s that says %q", what, why)
			return audit.Event{}
		}
	}
}

// byHost matches events about a host on a path.
func byHost(host, path string) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Host == host && (path == "" || e.Path == path) }
}

// shared are bottles that several tests attack, one for each subject, made when first needed.
var shared struct {
	sync.Mutex
	home    *home
	bottles map[string]*sealed
}

// attacker returns the bottle of a subject. Each has its own audit log, whose flood gate one
// subject's denials don't reach.
func attacker(t testing.TB, subject string) *sealed {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.home == nil {
		h, err := makeHome(nil)
		if err != nil {
			t.Fatal(err)
		}
		shared.home, shared.bottles = h, map[string]*sealed{}
	}
	b := shared.bottles[subject]
	if b == nil {
		var err error
		if b, err = shared.home.open("--label", subject); err != nil {
			t.Fatal(err)
		}
		shared.bottles[subject] = b
	}
	return b
}

func closeShared() (err error) {
	for _, b := range shared.bottles {
		err = errors.Join(err, b.close())
	}
	if shared.home != nil {
		err = errors.Join(err, shared.home.close())
	}
	return err
}
