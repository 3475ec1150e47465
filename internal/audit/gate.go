package audit

import (
	"fmt"
	"time"
)

// Rates at which events are written one by one; what comes faster is folded. A working agent stays
// far below them, and at the denial rate a day of flood is some hundred megabytes at most, which
// the segments bound again.
const (
	allowRate, allowBurst = 200.0, 2000.0
	denyRate, denyBurst   = 20.0, 400.0
)

// gate decides which events are written one by one. Its user holds a lock.
type gate struct {
	allow, deny bucket
	folds       map[foldKey]*Event
	flushed     time.Time
}

// foldKey is what folded events have in common. There are a dozen of them at most, so the fold
// itself can't be flooded.
type foldKey struct {
	kind    Kind
	verdict string
}

func (g *gate) start(now time.Time) {
	g.allow = bucket{level: allowBurst, rate: allowRate, burst: allowBurst, at: now}
	g.deny = bucket{level: denyBurst, rate: denyRate, burst: denyBurst, at: now}
	g.flushed = now
}

// pass reports whether e is to be written; otherwise it is counted. What the warden does itself is
// always written: a bottle has no way of making it happen often.
func (g *gate) pass(e *Event, now time.Time, full bool) bool {
	switch e.Kind {
	case KindRequest, KindConnect, KindDNS:
	default:
		return true
	}
	b := &g.deny
	if e.Verdict == "allow" {
		b = &g.allow
	}
	if !full && b.take(now) {
		return true
	}
	g.fold(e, 1)
	return false
}

func (g *gate) fold(e *Event, n uint64) {
	k := foldKey{e.Kind, e.Verdict}
	if k.verdict != "allow" {
		k.verdict = "deny"
	}
	f := g.folds[k]
	if f == nil {
		if g.folds == nil {
			g.folds = make(map[foldKey]*Event)
		}
		f = &Event{Kind: KindDropped, Verdict: k.verdict}
		g.folds[k] = f
	}
	f.Count += n
	f.BytesOut += e.BytesOut
	f.BytesIn += e.BytesIn
	f.TokensIn += e.TokensIn
	f.TokensCacheRead += e.TokensCacheRead
	f.TokensCacheWrite += e.TokensCacheWrite
	f.TokensCacheWrite1h += e.TokensCacheWrite1h
	f.TokensOut += e.TokensOut
	f.TokensReasoning += e.TokensReasoning
	f.Findings = append(f.Findings, e.Findings[:min(len(e.Findings), max(0, maxFindings-len(f.Findings)))]...)
	// The last one stands for all: enough to see who asked for what.
	f.Via, f.Rule, f.Why, f.Host, f.Addr, f.Port = e.Via, e.Rule, e.Why, e.Host, e.Addr, e.Port
	f.Text = fmt.Sprintf("%d %s events came too fast to be written one by one; the last is shown", f.Count, k.kind)
}

// flush returns the folds that are due.
func (g *gate) flush(now time.Time, all bool) []Event {
	if len(g.folds) == 0 || !all && now.Sub(g.flushed) < foldEvery {
		return nil
	}
	g.flushed = now
	out := make([]Event, 0, len(g.folds))
	for _, f := range g.folds {
		out = append(out, *f)
	}
	clear(g.folds)
	return out
}

// lost counts events the disk did not take.
func (g *gate) lost(n uint64) {
	g.fold(&Event{Kind: KindLifecycle, Why: "the audit file could not be written"}, n)
}

// bucket is a token bucket.
type bucket struct {
	level, rate, burst float64
	at                 time.Time
}

func (b *bucket) take(now time.Time) bool {
	if d := now.Sub(b.at); d > 0 {
		b.level = min(b.burst, b.level+d.Seconds()*b.rate)
		b.at = now
	}
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
