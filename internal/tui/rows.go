package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden"
)

// maxText bounds what is taken over of any text, in bytes.
const maxText = 400

func safe(s string) string { return inert.Text(s, maxText) }

// row is a bottle as the list has it.
type row struct {
	entry  state.Entry
	status warden.Status // of a living one, when it has said
	screen []string      // what its session shows, likewise
	last   string        // the last thing it did
	lastAt time.Time     // see Host.LastEvent
	// waits: its agent has been quiet for so long that it seems to wait for the operator.
	waits bool
}

func (r row) id() string { return r.entry.ID.String() }

// rank orders: what needs the operator, what lives, what has ended.
func (r row) rank() int {
	switch {
	case r.waits:
		return 0
	case r.entry.Alive && r.entry.State == bottle.Creating:
		return 2
	case r.entry.Alive:
		return 1
	case r.entry.Problem != "" || r.entry.State == bottle.Failed:
		return 3
	}
	return 4
}

// arrange sorts rows: the living before the ended, the younger before the older.
func arrange(rows []row) {
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), b.entry.Started.Compare(a.entry.Started), cmp.Compare(a.id(), b.id()))
	})
}

// glyph is a state as a sign and its colour.
func (r row) glyph() (sign, code string) {
	e := r.entry
	switch {
	case e.Problem != "":
		return "!", red
	case r.waits:
		return "◆", yellow
	case e.State == bottle.Creating:
		return "◌", yellow
	case e.State == bottle.Running && e.Alive:
		return "●", green
	case e.State == bottle.Stopping && e.Alive:
		return "◍", yellow
	case e.State == bottle.Failed, e.Exit != nil && *e.Exit != 0:
		return "✗", red
	}
	return "○", faint
}

// word is a state in words.
func (r row) word() string {
	e := r.entry
	switch {
	case e.Problem != "":
		return "broken"
	case r.waits:
		return "waits for you"
	case e.Exit != nil && e.State.Ended():
		return fmt.Sprintf("%s (%d)", e.State, *e.Exit)
	}
	return e.State.String()
}

// age is how long ago a bottle was started: "12s", "3m", "5h", "9d".
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// bottleLines draws the list: two lines a bottle where there is room, one where there are many.
func (m *model) bottleLines(w, h int) []string {
	if len(m.rows) == 0 {
		return []string{"", "  no bottles yet", "", "  " + paint(bold, "n") + " starts one"}
	}
	each := 2
	if len(m.rows)*2 > h {
		each = 1
	}
	visible := max(1, h/each)
	from := min(max(0, m.sel-visible/2), max(0, len(m.rows)-visible))
	var out []string
	now := m.now()
	for i := from; i < min(len(m.rows), from+visible); i++ {
		r := m.rows[i]
		sign, code := r.glyph()
		tail := fmt.Sprintf(" %s %4s", safe(r.entry.Backend), age(now.Sub(r.entry.Started)))
		name := r.id()
		label := ""
		if r.entry.Label != "" {
			label = " " + paint(colors[r.entry.Color], safe(r.entry.Label))
		}
		left := fit(paint(code, sign)+" "+paint(bold, name)+label, max(4, w-len(tail)-1))
		line := left + paint(faint, tail)
		if i == m.sel {
			line = paint(chosen, ">") + line
		} else {
			line = " " + line
		}
		out = append(out, line)
		if each == 2 {
			last := r.last
			if r.entry.Reason != "" {
				last = safe(r.entry.Reason)
			}
			if r.entry.Problem != "" {
				last = safe(r.entry.Problem)
			}
			if last == "" {
				last = r.word()
			}
			out = append(out, "   "+paint(faint, fit(last, w-3)))
		}
	}
	return out
}

// told is an event of the audit log in a few words.
func told(e audit.Event) string {
	switch {
	case e.Host != "" || e.Addr != "":
		what := cmp.Or(e.Host, e.Addr)
		return strings.TrimSpace(safe(strings.Join([]string{sign(e), e.Method, what + e.Path}, " ")))
	case e.Text != "":
		return safe(e.Text)
	}
	return safe(string(e.Kind))
}

func sign(e audit.Event) string {
	switch e.Verdict {
	case "allow":
		return "✓"
	case "deny":
		return "✗"
	}
	return "·"
}
