package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// The lab's helpers are this program again, the test's too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if mode, ok := helperModes[os.Args[1]]; ok {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			defer stop()
			if err := help(ctx, mode, os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		line     string
		body     int64
		rest     string
		err      error
	}{
		{"no body", "GET / HTTP/1.1\r\nHost: x\r\n\r\nnext", "GET / HTTP/1.1", 0, "next", nil},
		{"a length", "HTTP/1.1 200 OK\r\ncontent-length:  5 \r\n\r\nhellonext", "HTTP/1.1 200 OK", 5, "next", nil},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nnext", "HTTP/1.1 200 OK", 6, "next", nil},
		{"chunks and a trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\nDigest: x\r\n\r\nnext", "HTTP/1.1 200 OK", 1, "next", nil},
		{"no length at all", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", "", 0, "", errUnexpected},
		{"a length below nothing", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "", 0, "", errUnexpected},
		{"the end", "", "", 0, "", io.EOF},
		{"a line that breaks off", "GET / HT", "", 0, "", io.ErrUnexpectedEOF},
		{"a body that breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "", 0, "", io.EOF},
		{"a line without end", strings.Repeat("x", 8<<10), "", 0, "", bufio.ErrBufferFull},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := bufio.NewReader(strings.NewReader(c.in))
			h, err := readHead(r)
			var n int64
			if err == nil {
				n, err = skipBody(r, h)
			}
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			rest, _ := io.ReadAll(r)
			if h.line != c.line || n != c.body || string(rest) != c.rest {
				t.Errorf("line %q, body of %d, rest %q; want %q, %d, %q", h.line, n, rest, c.line, c.body, c.rest)
			}
		})
	}
}

func TestOnly200IsAnAnswer(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"HTTP/1.1 200 OK": true, "HTTP/1.1 200": true, "HTTP/1.1 403 Forbidden": false, "HTTP/1.1": false, "": false,
	} {
		if got := ok(head{line: line}); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var o outcome
	if got := o.percentile(99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := range 200 {
		o.latency = append(o.latency, time.Duration(i))
	}
	o.took = 2 * time.Second
	if p50, p99, top := o.percentile(50), o.percentile(99), o.percentile(100); p50 != 100 || p99 != 198 || top != 199 {
		t.Errorf("p50 %d, p99 %d, p100 %d", p50, p99, top)
	}
	if got := o.perSecond(); got != 100 {
		t.Errorf("%v a second", got)
	}
}

func TestRowsAreComparedRoundByRound(t *testing.T) {
	t.Parallel()
	turn := func(n int, between time.Duration) outcome {
		return outcome{
			latency: slices.Repeat([]time.Duration{time.Duration(n)}, n), took: time.Second,
			generator: 10, upstream: 10, between: between * time.Duration(n),
		}
	}
	// In the second round the machine was busy, with both.
	a := row{"a", []outcome{turn(100, 20), turn(8, 20), turn(120, 20)}}
	b := row{"b", []outcome{turn(50, 0), turn(4, 0), turn(40, 0)}}
	if got := middle(a, outcome.perSecond); got != 100 {
		t.Errorf("median of a: %v", got)
	}
	if got := beside(a, b, func(a, b outcome) float64 { return a.perSecond() / b.perSecond() }); got != 2 {
		t.Errorf("ratio: %v", got)
	}
	if got := beside(a, b, func(a, b outcome) time.Duration { return a.percentile(50) - b.percentile(50) }); got != 50 {
		t.Errorf("added: %v", got)
	}
	if got := middle(a, outcome.each); got != 20 {
		t.Errorf("CPU time for a request: %v", got)
	}
	if got, want := middle(b, outcome.load), 0.5; got != want {
		t.Errorf("the generator's part: %v, want %v", got, want)
	}
	if _, found := (table{a, b}).of("c"); found {
		t.Error("a row nobody made was found")
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	got, err := choose("idle,egress")
	if err != nil || len(got) != 2 || !got["idle"] || !got["egress"] {
		t.Errorf("%v, %v", got, err)
	}
	for _, list := range []string{"", "idle,", "scan", "Idle"} {
		if _, err := choose(list); err == nil {
			t.Errorf("%q was taken", list)
		}
	}
}

func TestRulesAreThirtyAndAllowTheLoads(t *testing.T) {
	t.Parallel()
	routes, err := rules()
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) != 30 {
		t.Errorf("%d rules", len(routes))
	}
	p, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{modelHost, registryHost, uploadHost} {
		if v := p.Connect(host, 443, true); !v.Allowed() {
			t.Errorf("%s: %s", host, v.Why)
		}
	}
	if v := p.Connect("elsewhere.example", 443, true); v.Allowed() {
		t.Error("a host that no rule names is allowed")
	}
}

func TestThePromptHas200Bytes(t *testing.T) {
	t.Parallel()
	w, err := prompt(modelTarget)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.body) != 200 {
		t.Errorf("%d bytes", len(w.body))
	}
}

// The lab as the bench uses it: real processes, both roads, every kind of traffic, in small.
func TestLab(t *testing.T) {
	t.Parallel()
	l, err := newLab(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	profile := t.TempDir() + "/cpu"
	engine, p, err := l.through(t.Context(), 0, profile)
	if err != nil {
		t.Fatal(err)
	}
	question, err := prompt(modelTarget)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []road{l.direct(), engine} {
		for _, w := range []work{metadata, question} {
			for _, rate := range []int{0, 200} {
				e := r(w.host)
				// Of a busy machine 100 ms may be over before anything is answered.
				for span := 100 * time.Millisecond; ; span *= 4 {
					o, err := load{conns: 4, rate: rate, warm: 10 * time.Millisecond, span: span}.run(t.Context(), e, l.upstream, e.request(w))
					if err != nil {
						t.Fatalf("%s, %s: %v", e.name, w.name, err)
					}
					n := len(o.latency)
					if n == 0 && span < 20*time.Second {
						continue
					}
					if n == 0 || rate > 0 && n > int(2*time.Duration(rate)*span/time.Second) || !slices.IsSorted(o.latency) {
						t.Errorf("%s, %s, at %d a second: %d requests", e.name, w.name, rate, n)
					}
					break
				}
			}
		}
		if err := download(t.Context(), r, 3<<20); err != nil {
			t.Error(err)
		}
		if err := upload(t.Context(), r, 3<<20); err != nil {
			t.Error(err)
		}
		for _, hold := range []time.Duration{0, time.Hour} { // whoever holds the event back does it for that long
			w, err := prompt(targetEvents + hold.String())
			if err != nil {
				t.Fatal(err)
			}
			e := r(modelHost)
			c, err := e.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(slack)) // a dead one fails below
			if hold == 0 {
				_, err = firstEvent(c, e.request(w))
			} else {
				_, _, err = awaitEvent(c, e.request(w))
			}
			if err != nil {
				t.Errorf("%s: the first event of a stream of %v: %v", e.name, hold, err)
			}
			_ = c.Close() // what it had to say was read
		}
	}
	if runtime.GOOS == "linux" {
		if now, peak, err := p.resident(); err != nil || now <= 0 || peak < now {
			t.Errorf("resident %d, at most %d: %v", now, peak, err)
		}
	}
	p.stop()
	if info, err := os.Stat(profile); err != nil || info.Size() == 0 {
		t.Errorf("the engine left no profile: %v", err)
	}
	if _, err := engine(modelHost).open(t.Context()); err == nil {
		t.Error("a stopped engine still answers")
	}
}

func TestADeniedRequestFailsTheLoad(t *testing.T) {
	t.Parallel()
	l, err := newLab(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	engine, _, err := l.through(t.Context(), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	e := engine(registryHost)
	w := metadata
	w.method = "DELETE"
	if _, err := (load{conns: 1, span: time.Second}).run(t.Context(), e, l.upstream, e.request(w)); !errors.Is(err, errUnexpected) {
		t.Errorf("%v", err)
	}
	if _, err := engine("elsewhere.example").open(t.Context()); !errors.Is(err, errUnexpected) {
		t.Errorf("%v", err)
	}
}

func TestAHelperThatCantStartSaysWhy(t *testing.T) {
	t.Parallel()
	if _, err := helper(t.Context(), "through", "-dir", t.TempDir()); err == nil || !strings.Contains(err.Error(), caFile) {
		t.Errorf("%v", err)
	}
}

func TestARivalThatEndsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	const nobodys = "127.0.0.1:0" // a free port may be somebody's by now
	_, err := rival(t.Context(), "sh", nobodys, []string{"/bin/sh", "-c", "echo bad configuration >&2; exit 1"})
	if err == nil || !strings.Contains(err.Error(), "bad configuration") {
		t.Errorf("%v", err)
	}
}

func TestUpstreamRefusesWhatIsNoCount(t *testing.T) {
	t.Parallel()
	for _, target := range []string{targetBytes, targetEvents} {
		ours, theirs := net.Pipe()
		done := make(chan error, 1)
		go func() {
			err := answerAll(theirs)
			_ = theirs.Close() // its end is what answerAll returned
			done <- err
		}()
		if _, err := io.WriteString(ours, "GET "+target+"many HTTP/1.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil {
			t.Errorf("%smany was answered", target)
		}
		_ = ours.Close() // nothing more is said
	}
}
