package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// work is one kind of request.
type work struct {
	name, host     string
	method, target string
	fields         string // header fields, each with its line end
	body           string
}

// metadata is what package managers ask for.
var metadata = work{
	name: "package metadata (GET)", host: registryHost, method: "GET", target: "/left-pad/1.3.0",
	fields: "User-Agent: npm/10.9.2 node/v22.14.0 linux x64 workspaces/false\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\n" +
		"npm-command: install\r\nConnection: keep-alive\r\n",
}

// modelTarget is where prompts go.
const modelTarget = "/v1/messages"

// prompt is a question to a model in a body of 200 bytes, sent to target.
func prompt(target string) (work, error) {
	auth, err := placeholder()
	if err != nil {
		return work{}, err
	}
	const question = `{"model":"claude-sonnet-4-5","max_tokens":1024,"messages":[{"role":"user","content":"` +
		`Which of these packages have another licence than the README says? Please reply with one table, sorted by name."}]}`
	return work{
		name: fmt.Sprintf("prompt of %d bytes (POST)", len(question)), host: modelHost, method: "POST", target: target,
		fields: "User-Agent: claude-cli/2.0.14 (external, cli)\r\nAccept: application/json\r\nContent-Type: application/json\r\n" +
			"Anthropic-Version: 2023-06-01\r\nX-Api-Key: " + auth.Placeholder + "\r\nConnection: keep-alive\r\n",
		body: question,
	}, nil
}

// What the project promises of small requests, and how they are measured.
const (
	smallConns     = 16
	steadyRate     = 1000 // requests a second, which all but mitmdump answer with time to spare
	smallWarm      = 200 * time.Millisecond
	smallSpan      = time.Second
	mitmdumpShare  = 15.0
	squidShare     = 1.0
	addedMedianMax = 500 * time.Microsecond
	addedP99Max    = 3 * time.Millisecond
)

// small measures small requests over kept-alive connections: straight, through the engine, and
// through what others intercept or forward with.
func small(ctx context.Context, o options) error {
	l, err := newLab(ctx, o.dir)
	if err != nil {
		return err
	}
	defer l.close()
	engine, _, err := l.through(ctx, 0, o.profile)
	if err != nil {
		return err
	}
	field := []road{l.direct(), engine}
	for _, rival := range []func(context.Context) (road, string, error){l.mitmdump, l.squid} {
		r, version, err := rival(ctx)
		if errors.Is(err, errAbsent) {
			fmt.Println(err)
			continue
		}
		if err != nil {
			return err
		}
		fmt.Println(version)
		field = append(field, r)
	}
	question, err := prompt(modelTarget)
	if err != nil {
		return err
	}
	steady := field[:0:0] // mitmdump would be late with every answer
	for _, r := range field {
		if r("").name != "mitmdump" {
			steady = append(steady, r)
		}
	}
	for _, w := range []work{metadata, question} {
		fast := load{conns: smallConns, warm: smallWarm, span: smallSpan}
		t, err := l.turns(ctx, field, fast, w, o.rounds)
		if err != nil {
			return err
		}
		t.print(fmt.Sprintf("%s over kept-alive HTTPS, %d connections, as fast as answers come, %s", w.name, smallConns, inTurns(o.rounds)))
		t.share("mitmdump", mitmdumpShare)
		t.share("squid", squidShare)
		t.added("added when saturated")
		calm := fast
		calm.rate = steadyRate
		if t, err = l.turns(ctx, steady, calm, w, o.rounds); err != nil {
			return err
		}
		t.print(fmt.Sprintf("the same at %d requests a second", steadyRate))
		t.added("added")
	}
	return nil
}

// row is a contender's turns, in the order of the rounds.
type row struct {
	name  string
	turns []outcome
}

type table []row

// turns gives every road of the field its turn of load, rounds times.
func (l *lab) turns(ctx context.Context, field []road, how load, w work, rounds int) (table, error) {
	t := make(table, len(field))
	for range rounds {
		for i, r := range field {
			e := r(w.host)
			o, err := how.run(ctx, e, l.upstream, e.request(w))
			if err != nil {
				return nil, err
			}
			t[i].name = e.name
			t[i].turns = append(t[i].turns, o)
		}
	}
	return t, nil
}

// middle is the median of what f takes from each of r's turns.
func middle[T float64 | time.Duration](r row, f func(outcome) T) T {
	all := make([]T, len(r.turns))
	for i, o := range r.turns {
		all[i] = f(o)
	}
	return mid(all)
}

// beside is the median over the rounds of what f makes of both rows' turns. Whatever else the
// machine did in a round it did to both, so that this is steadier than comparing medians.
func beside[T float64 | time.Duration](a, b row, f func(a, b outcome) T) T {
	all := make([]T, len(a.turns))
	for i := range a.turns {
		all[i] = f(a.turns[i], b.turns[i])
	}
	return mid(all)
}

func mid[T float64 | time.Duration](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// of returns name's row, if there is one.
func (t table) of(name string) (row, bool) {
	i := slices.IndexFunc(t, func(r row) bool { return r.name == name })
	if i < 0 {
		return row{}, false
	}
	return t[i], true
}

func inTurns(rounds int) string { return fmt.Sprintf("medians of %d taken in turns", rounds) }

func (t table) print(title string) {
	fmt.Printf("\n%s\n", title)
	fmt.Printf("  %-14s %11s %9s %9s %9s %12s %10s\n", "", "requests/s", "p50", "p90", "p99", "CPU/request", "generator")
	for _, r := range t {
		each := "-"
		if d := middle(r, outcome.each); d > 0 {
			each = fmt.Sprintf("%d us", d.Microseconds())
		}
		p := func(p int) string { return fine(middle(r, func(o outcome) time.Duration { return o.percentile(p) })) }
		fmt.Printf("  %-14s %11.0f %9s %9s %9s %12s %9.0f%%\n", r.name, middle(r, outcome.perSecond), p(50), p(90), p(99), each, 100*middle(r, outcome.load))
	}
}

// share prints what the engine's requests a second are of a rival's.
func (t table) share(rival string, least float64) {
	ours, _ := t.of(engineName)
	if theirs, ok := t.of(rival); ok {
		got := beside(ours, theirs, func(a, b outcome) float64 { return a.perSecond() / b.perSecond() })
		verdict("ratio to "+rival, fmt.Sprintf("%.2f", got), got >= least, fmt.Sprintf("at least %.0f", least))
	}
}

// added prints what the engine adds to the latency of going straight.
func (t table) added(what string) {
	ours, _ := t.of(engineName)
	straight, _ := t.of(directName)
	for _, want := range []struct {
		p     int
		limit time.Duration
	}{{50, addedMedianMax}, {99, addedP99Max}} {
		got := beside(ours, straight, func(a, b outcome) time.Duration { return a.percentile(want.p) - b.percentile(want.p) })
		verdict(fmt.Sprintf("%s, p%d", what, want.p), fine(got), got <= want.limit, "at most "+fine(want.limit))
	}
}

func fine(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
