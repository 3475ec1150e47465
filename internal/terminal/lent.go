package terminal

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/claude-bottle/claude-bottle/internal/session/escape"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

// Sequences around a loan. The title is the terminal's to remember.
const (
	saveTitle    = "\x1b[22;0t"
	restoreTitle = "\x1b[23;0t"
)

// lent is a terminal in raw mode.
type lent struct {
	in, out *os.File
	before  *term.State
	drawn   bool   // the agent has drawn: there is something to undo
	alt     bool   // the alternate screen is on
	tail    []byte // the end of the last write, where a sequence may have begun
	left    bool   // the operator detached: the agent's screen stays behind
}

// lend puts the terminal into raw mode and shows the hint.
func lend(o Options) (*lent, error) {
	before, err := term.MakeRaw(int(o.In.Fd()))
	if err != nil {
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	l := &lent{in: o.In, out: o.Out, before: before}
	if o.Hint != "" {
		if _, err := l.out.WriteString(o.Hint + "\r\n"); err != nil {
			l.giveBack()
			return nil, fmt.Errorf("write to the terminal: %w", err)
		}
	}
	return l, nil
}

// Write implements io.Writer for what the session shows.
func (l *lent) Write(p []byte) (int, error) {
	if !l.drawn {
		l.drawn = true
		if _, err := l.out.WriteString(saveTitle + l.clearSpace()); err != nil {
			return 0, err
		}
	}
	l.watch(p)
	return l.out.Write(p)
}

// clearSpace scrolls what is on the screen into the terminal's own scrollback, where the repaint
// that comes next would wipe it out.
func (l *lent) clearSpace() string {
	rows := int(l.size().Rows)
	if rows == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%d;1H%s\x1b[H", rows, strings.Repeat("\n", rows))
}

// watch follows whether the alternate screen is on. The session spells it one way only.
func (l *lent) watch(p []byte) {
	l.tail = append(l.tail, p[:min(len(p), len(escape.AltOn)-1)]...)
	for _, part := range [][]byte{l.tail, p} {
		on, off := bytes.LastIndex(part, []byte(escape.AltOn)), bytes.LastIndex(part, []byte(escape.AltOff))
		if on != off {
			l.alt = on > off
		}
	}
	keep := p[max(0, len(p)-len(escape.AltOn)+1):]
	if len(p) < len(escape.AltOn)-1 {
		keep = l.tail[max(0, len(l.tail)-len(escape.AltOn)+1):]
	}
	l.tail = append([]byte(nil), keep...)
}

// giveBack undoes everything. What can't be written to a terminal that is gone needs no undoing.
func (l *lent) giveBack() {
	if l.drawn {
		var b strings.Builder
		if l.alt {
			b.WriteString(escape.LeaveAlt)
		}
		b.WriteString(escape.Reset + restoreTitle)
		if l.left && !l.alt {
			fmt.Fprintf(&b, "\x1b[%d;1H\r\n", max(1, l.size().Rows))
		}
		_, _ = l.out.WriteString(b.String())
	}
	_ = term.Restore(int(l.in.Fd()), l.before)
}

func (l *lent) size() client.Size {
	cols, rows, err := term.GetSize(int(l.out.Fd()))
	if err != nil {
		return client.Size{}
	}
	return client.Size{Rows: uint16(min(max(rows, 0), 0xffff)), Cols: uint16(min(max(cols, 0), 0xffff))}
}

// watchSize yields the terminal's new sizes until ctx ends. After a stop and continue, when a shell
// has had the terminal meanwhile, raw mode is taken again.
func (l *lent) watchSize(ctx context.Context, watch *sync.WaitGroup) <-chan client.Size {
	in := make(chan os.Signal, 1)
	signal.Notify(in, syscall.SIGWINCH, syscall.SIGCONT)
	out := make(chan client.Size)
	watch.Go(func() {
		defer signal.Stop(in)
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-in:
				if s == syscall.SIGCONT {
					_, _ = term.MakeRaw(int(l.in.Fd())) // the state to return to is known already
				}
			}
			select {
			case out <- l.size():
			case <-ctx.Done():
				return
			}
		}
	})
	return out
}
