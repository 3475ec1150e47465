package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

const (
	crowdConns    = 10_000
	crowdPolicies = 200
	crowdAtOnce   = 32              // handshakes
	crowdRest     = 5 * time.Second // until what the handshakes needed has been given back
)

// crowd states what idle connections and compiled policies hold.
func crowd(ctx context.Context, o options) error {
	if err := idleConns(ctx, o); err != nil {
		return err
	}
	return policies()
}

// idleConns opens kept-alive connections through an engine, each with one request done, and reads
// the engine's resident memory before and after.
func idleConns(ctx context.Context, o options) error {
	l, err := newLab(ctx, o.dir)
	if err != nil {
		return err
	}
	defer l.close()
	r, p, err := l.through(ctx, 2*crowdConns, "")
	if err != nil {
		return err
	}
	e := r(metadata.host)
	request := e.request(metadata)
	clients := make([]*client, crowdConns)
	defer func() {
		for _, c := range clients {
			if c != nil {
				_ = c.Close() // it only had to be there
			}
		}
	}()
	raise := func(i int) error {
		c, err := e.open(ctx)
		if err != nil {
			return err
		}
		clients[i] = c
		return c.do(request)
	}
	if err := raise(0); err != nil {
		return err
	}
	before, _, err := p.resident()
	if err != nil {
		return err
	}
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(crowdAtOnce)
	for i := 1; i < crowdConns; i++ {
		g.Go(func() error { return raise(i) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("%d idle connections (the limit on open files is to allow a few more): %w", crowdConns, err)
	}
	took := time.Since(began)
	time.Sleep(crowdRest)
	after, _, err := p.resident()
	if err != nil {
		return err
	}
	alive := 0
	for i := 0; i < crowdConns; i += 100 {
		if clients[i].do(request) == nil {
			alive++
		}
	}
	fmt.Printf("\n%d idle kept-alive HTTPS connections through the engine, opened in %.1f s\n", crowdConns, took.Seconds())
	fmt.Printf("  resident: %.0f MB, before %.0f MB: %.1f KB a connection\n", mb(after), mb(before), float64(after-before)/float64(crowdConns)/1024)
	verdict("still answering", fmt.Sprintf("%d of %d asked", alive, crowdConns/100), alive == crowdConns/100, "all")
	return nil
}

// policies measures the heap that compiled policies hold.
func policies() error {
	var before, after runtime.MemStats
	collected(&before)
	kept := make([]*policy.Policy, crowdPolicies)
	count := 0
	for i := range kept {
		routes, err := rules()
		if err != nil {
			return err
		}
		if kept[i], err = policy.Compile(routes); err != nil {
			return err
		}
		count = len(routes)
	}
	collected(&after)
	runtime.KeepAlive(kept)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	fmt.Printf("\n%d bottles' policies of %d rules each, compiled\n", crowdPolicies, count)
	fmt.Printf("  heap: %.1f MB, %.1f KB a policy\n", mb(held), float64(held)/crowdPolicies/1024)
	return nil
}

// collected reads the heap with the garbage gone.
func collected(m *runtime.MemStats) {
	runtime.GC()
	runtime.GC() // the first leaves what finalizers and pools hold
	runtime.ReadMemStats(m)
}
