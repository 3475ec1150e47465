package tui

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden"
)

// Seen is what the screen knows of a bottle.
type Seen struct {
	state.Entry
	// Status is what its warden says; absent when there is none.
	Status *warden.Status `json:"status,omitempty"`
	// Last is the last thing it did, in words.
	Last string `json:"last,omitempty"`
}

// lookAll asks for everything once. A warden that does not answer is as good as none.
func lookAll(ctx context.Context, h Host) ([]row, error) {
	entries, err := h.Bottles(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]row, 0, len(entries))
	for _, e := range entries {
		r := row{entry: e, waits: waits(h, e, time.Now())}
		if event, _, ok := h.LastEvent(e, time.Time{}); ok {
			r.last = told(event)
		}
		if e.Alive {
			r.look(ctx, h.Warden(e))
		}
		rows = append(rows, r)
	}
	arrange(rows)
	return rows, nil
}

// Once prints what the dashboard would show, in w columns and h lines, and leaves. Without colour it is
// plain text.
func Once(ctx context.Context, h Host, out io.Writer, width, height int, colour bool) error {
	rows, err := lookAll(ctx, h)
	if err != nil {
		return err
	}
	m := newModel(ctx, h, Options{Now: time.Now})
	m.w, m.h, m.rows = width, height, rows
	if r, ok := m.selected(); ok {
		m.shown = r.id()
		if r.entry.Alive {
			_ = h.Warden(r.entry).Audit(ctx, 0, false, func(a audit.Event) error { // as in lookAll
				m.egress.events = append(m.egress.events, a)
				return nil
			})
		}
	}
	text := strings.Join(m.screen(), "\n") + "\n"
	if !colour {
		text = ansi.Strip(text)
	}
	_, err = io.WriteString(out, text)
	return err
}

// OnceJSON prints the same as JSON: an array of Seen.
func OnceJSON(ctx context.Context, h Host, out io.Writer) error {
	rows, err := lookAll(ctx, h)
	if err != nil {
		return err
	}
	seen := make([]Seen, 0, len(rows))
	for _, r := range rows {
		s := Seen{Entry: r.entry, Last: r.last}
		if r.status.Metadata.V != 0 {
			s.Status = &r.status
		}
		seen = append(seen, s)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(seen)
}
