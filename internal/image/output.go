package image

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/progress"
)

const (
	lineMax = 1 << 10 // bytes of a line that are shown; the log has all of it
	tailMax = 20      // lines of a failing step in its error
)

// output passes on what a build prints: every byte to the log, every line to the sink.
type output struct {
	sink progress.Sink
	log  io.Writer
}

// say reports a line of our own, in the log as well.
func (o *output) say(line string) {
	o.raw([]byte(line + "\n"))
	o.show(line)
}

// show reports a line that is inert already.
func (o *output) show(line string) { o.sink.Line(Step, line) }

// raw writes to the log. A log that can't be written is said once and ends no build.
func (o *output) raw(b []byte) {
	if o.log == nil {
		return
	}
	if _, err := o.log.Write(b); err != nil {
		o.log = nil
		o.show(fmt.Sprintf("the build's log is not complete: %v", err))
	}
}

// clean makes a foreign line inert and bounded. Tabs are too frequent in build output to be shown
// as escapes.
func clean(line string) string {
	line = strings.TrimRight(line, "\r\n ")
	return inert.Text(strings.ReplaceAll(line, "\t", "    "), lineMax)
}

// lines cuts a stream into lines and keeps the beginning of each: a line may be of any length.
type lines struct {
	part []byte
	each func(line string)
}

func (l *lines) write(b []byte) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		piece := b
		if end >= 0 {
			piece = b[:end]
		}
		// Twice what is shown, so that clean sees that there is more, and says so.
		l.part = append(l.part, piece[:min(len(piece), 2*lineMax-len(l.part))]...)
		if end < 0 {
			return
		}
		l.flush()
		b = b[end+1:]
	}
}

// flush ends the line at hand. Empty ones don't count.
func (l *lines) flush() {
	if line := clean(string(l.part)); line != "" {
		l.each(line)
	}
	l.part = l.part[:0]
}

// tail keeps the last lines.
type tail []string

func (t *tail) add(line string) {
	if len(*t) == tailMax {
		*t = append((*t)[:0], (*t)[1:]...)
	}
	*t = append(*t, line)
}
