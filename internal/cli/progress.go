package cli

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/term"

	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// launchView shows a launch: on a terminal one line a step, the current one rewritten in place and
// left with its time when the next begins; elsewhere one plain line an event. It is used from one
// goroutine.
type launchView struct {
	w     io.Writer
	st    style
	live  bool
	width int
	// quiet drops everything.
	quiet bool

	step  string
	line  string
	since time.Time
}

func newLaunchView(sys *System, quiet bool) *launchView {
	v := &launchView{w: sys.Stderr, st: sys.styleFor(sys.Stderr), quiet: quiet, width: pageWidth}
	if v.live = v.st.on; v.live {
		if cols, _, err := term.GetSize(int(sys.Stderr.Fd())); err == nil && cols > 20 {
			v.width = cols
		}
	}
	return v
}

// show takes the next event.
func (v *launchView) show(e progress.Event) {
	if v.quiet {
		return
	}
	step, line := safe(e.Step), safe(e.Line)
	if !v.live {
		if line != "" {
			putf(v.w, "%s: %s\n", step, line)
		}
		return
	}
	if step != v.step && step != "" {
		v.settle(e.Time)
		v.step, v.line, v.since = step, "", e.Time
	}
	if line != "" {
		v.line = line
	}
	if v.step != "" {
		putf(v.w, "\r\x1b[K  %s", clip(fmt.Sprintf("%-10s %s", v.step, v.line), v.width-3))
	}
	if e.End != nil {
		v.settle(e.Time)
	}
}

// settle leaves the current step's line as it was done.
func (v *launchView) settle(at time.Time) {
	if v.step == "" {
		return
	}
	took := fmt.Sprintf("%7s", at.Sub(v.since).Round(time.Millisecond))
	text := clip(fmt.Sprintf("%-10s %s  %s", v.step, took, v.line), v.width-3)
	putf(v.w, "\r\x1b[K  %s\n", v.st.dim(text))
	v.step = ""
}
