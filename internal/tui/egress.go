package tui

import (
	"context"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// maxEvents is how many events of a bottle are kept to be looked at.
const maxEvents = 2000

// egress is the live traffic of the selected bottle.
type egress struct {
	events    []audit.Event
	filter    string
	filtering bool
	back      int // lines scrolled back
}

// gather is how long events are gathered before they are shown: a screen has no use for each by itself.
const gather = 100 * time.Millisecond

// followAudit sends what a bottle's audit log says, in handfuls, until ctx ends or the bottle does.
func followAudit(ctx context.Context, w Warden, id string, send func(tea.Msg)) {
	events := make(chan audit.Event, 256)
	go func() {
		defer close(events)
		_ = w.Audit(ctx, 0, true, func(e audit.Event) error { // a log that ends is a bottle that does
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	var some []audit.Event
	var due <-chan time.Time
	for {
		select {
		case e, ok := <-events:
			if !ok {
				send(heard{id, some})
				return
			}
			if some = append(some, e); len(some) > maxEvents {
				some = some[len(some)-maxEvents:]
			}
			if due == nil {
				due = time.After(gather)
			}
		case <-due:
			send(heard{id, some})
			some, due = nil, nil
		}
	}
}

func (m *model) heard(msg heard) {
	if msg.id != m.shown || len(msg.events) == 0 {
		return
	}
	e := &m.egress
	e.events = append(e.events, msg.events...)
	if n := len(e.events); n > maxEvents {
		e.events = e.events[n-maxEvents:]
	}
	for i := range m.rows {
		if m.rows[i].id() == msg.id {
			m.rows[i].last = told(msg.events[len(msg.events)-1])
		}
	}
}

// edit edits the filter.
func (e *egress) edit(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		e.filtering = false
	case "esc":
		e.filtering, e.filter = false, ""
	case "backspace":
		if r := []rune(e.filter); len(r) > 0 {
			e.filter = string(r[:len(r)-1])
		}
	default:
		e.filter += k.Text
	}
}

// matches reports whether an event is to be shown.
func (e *egress) matches(a audit.Event) bool {
	switch a.Kind {
	case audit.KindRequest, audit.KindConnect, audit.KindDNS, audit.KindDropped:
	default:
		return false
	}
	return e.filter == "" || strings.Contains(strings.ToLower(told(a)+" "+a.Rule+" "+a.Verdict), strings.ToLower(e.filter))
}

// lines draws the last events, the newest at the bottom, and how many there were in the last minute.
func (e *egress) lines(w, h int, now time.Time) []string {
	var shown []audit.Event
	allowed, denied := 0, 0
	for _, a := range e.events {
		if !e.matches(a) {
			continue
		}
		shown = append(shown, a)
		if now.Sub(a.Time) < time.Minute {
			switch a.Verdict {
			case "allow":
				allowed++
			case "deny":
				denied++
			}
		}
	}
	head := fmt.Sprintf("%d allowed, %d denied in the last minute", allowed, denied)
	if e.filtering || e.filter != "" {
		head = "/" + e.filter
		if e.filtering {
			head += "▏"
		}
	}
	out := []string{paint(faint, fit(head, w))}
	rows := h - 1
	e.back = min(e.back, max(0, len(shown)-rows))
	end := len(shown) - e.back
	for _, a := range shown[max(0, end-rows):end] {
		out = append(out, line(a, w))
	}
	if len(shown) == 0 {
		out = append(out, paint(faint, "nothing yet"))
	}
	return out
}

// line is an event: when, what was decided, what it was, which rule decided.
func line(a audit.Event, w int) string {
	code := faint
	switch a.Verdict {
	case "allow":
		code = green
	case "deny":
		code = red
	}
	what := told(a)
	if a.Status > 0 {
		what += fmt.Sprintf(" %d", a.Status)
	}
	why := a.Rule
	if why == "" {
		why = a.Why
	}
	left := paint(faint, a.Time.Local().Format("15:04:05")) + " " + paint(code, what)
	if w < 70 || why == "" {
		return fit(left, w)
	}
	tail := min(w/3, 40)
	return fit(left, w-tail-1) + " " + paint(faint, fit(safe(why), tail))
}
