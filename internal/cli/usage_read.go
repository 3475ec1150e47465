package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// usageBy are the words of --by.
var usageBy = []string{"model", "bottle", "host", "day"}

// usageRow is what was counted of requests that have some things in common; the rest is empty.
type usageRow struct {
	Bottle string `json:"bottle,omitempty"`
	Day    string `json:"day,omitempty"` // "2026-01-02", in the operator's time zone
	usage.Row
}

// usageReport is what "usage --json" prints.
type usageReport struct {
	Rows  []usageRow   `json:"rows"`
	Total usage.Totals `json:"total"`
}

// groupUsage adds up the rows that are alike: by one of usageBy, or by bottle and model.
func groupUsage(rows []usageRow, by string) (grouped []usageRow, total usage.Totals) {
	grouped = []usageRow{}
	at := map[usageRow]int{}
	for _, r := range rows {
		var key usageRow
		switch by {
		case "model":
			key.Model = r.Model
		case "bottle":
			key.Bottle = r.Bottle
		case "host":
			key.Host = r.Host
		case "day":
			key.Day = r.Day
		default:
			key.Bottle, key.Model = r.Bottle, r.Model
		}
		i, ok := at[key]
		if !ok {
			i = len(grouped)
			at[key] = i
			grouped = append(grouped, key)
		}
		grouped[i].Add(r.Totals)
		total.Add(r.Totals)
	}
	slices.SortFunc(grouped, func(a, b usageRow) int {
		return cmp.Or(cmp.Compare(a.Bottle, b.Bottle), cmp.Compare(a.Day, b.Day), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model))
	})
	return grouped, total
}

// tallies are one bottle's meters, by day.
type tallies struct {
	prices *usage.Prices
	since  time.Time
	tested bool // the self-test's result has passed
	days   map[string]*usage.Meter
}

// readUsage adds up a bottle's audit log since a time, all its segments. What was read before an
// error is returned with it.
func readUsage(dir *state.Dir, prices *usage.Prices, since time.Time) ([]usageRow, error) {
	t := tallies{prices: prices, since: since, days: map[string]*usage.Meter{}}
	path := dir.Path(state.AuditFile)
	var err error
	for n := 1; err == nil; n++ { // the oldest first
		err = t.segment(fmt.Sprintf("%s.%d", path, n))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = t.segment(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // the bottle came not even so far
	}
	var rows []usageRow
	for _, day := range slices.Sorted(maps.Keys(t.days)) {
		for _, r := range t.days[day].Snapshot() {
			rows = append(rows, usageRow{Bottle: dir.ID().String(), Day: day, Row: r})
		}
	}
	return rows, err
}

// segment adds one file's events.
func (t *tallies) segment(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // read-only
	if st, err := f.Stat(); err == nil && st.ModTime().Before(t.since) {
		t.tested = true // it was in here, like all that is older
		return nil
	}
	events, err := audit.Read(f)
	for i := range events {
		t.add(&events[i])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (t *tallies) add(e *audit.Event) {
	s := usage.Sample{Host: e.Host, Requests: 1, BytesOut: e.BytesOut, BytesIn: e.BytesIn}
	switch e.Kind {
	case audit.KindSelfTest:
		if !t.tested {
			clear(t.days) // what came before was its own knocking on every door
			t.tested = true
		}
		return
	case audit.KindRequest, audit.KindConnect:
	case audit.KindDropped: // of several hosts and models, and it names the last
		s.Host, s.Requests = usage.Other, int64(min(e.Count, 1<<62))
	default:
		return
	}
	if e.Verdict != policy.Allow.String() || e.Via == audit.ViaDNS || e.Time.Before(t.since) {
		return
	}
	s.Usage = usage.Usage{Model: e.Model, Tokens: usage.Tokens{
		Input: e.TokensIn, CacheRead: e.TokensCacheRead, CacheWrite: e.TokensCacheWrite, CacheWrite1h: e.TokensCacheWrite1h,
		Output: e.TokensOut, Reasoning: e.TokensReasoning,
	}}
	if e.Kind == audit.KindDropped && !s.Usage.Zero() {
		s.Usage.Model = usage.Other
	}
	day := e.Time.Local().Format(time.DateOnly)
	m := t.days[day]
	if m == nil {
		m = usage.NewMeter(t.prices)
		t.days[day] = m
	}
	m.Add(s)
}
