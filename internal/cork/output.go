//go:build linux

package cork

import (
	"errors"
	"os"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

const (
	// drainPatience is how long an output may be silent after its command's end before it is taken
	// to be out, though something in the background holds it open.
	drainPatience = 100 * time.Millisecond
	// drainLooks is how many reads that patience is shared by: a deadline that passed while all of us stood
	// still, as on a busy machine, says nothing of whether there is something to read.
	drainLooks = 4
	// drainBytes is more than a pipe or terminal holds, so all a command wrote before its end is
	// in it; what background programs write after that does not keep the command from ending.
	drainBytes = 256 << 10
)

// past is a deadline that interrupts.
var past = time.Unix(1, 0)

// output is one of a command's outputs.
type output struct {
	f *os.File
	t wire.FrameType
}

// interrupt ends a Read that waits.
func (o *output) interrupt() {
	_ = o.f.SetReadDeadline(past) // fails for a closed file, which nobody waits for
}

// pump sends an output's bytes as frames until its end, or, once ended is closed, until what the
// command has left in it is out.
func pump(o *output, frames *wire.FrameWriter, ended <-chan struct{}) {
	buf := make([]byte, wire.MaxFrame)
	left, draining, silent := drainBytes, false, 0
	for left > 0 {
		n, err := o.f.Read(buf)
		if n > 0 {
			silent = 0
			if frames.Write(o.t, buf[:n]) != nil {
				return // the warden is gone, and the command is being killed for it
			}
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if draining {
				if silent++; silent == drainLooks {
					return // a full patience of silence
				}
			}
		case err != nil:
			return // the end; a terminal says so by EIO
		}
		select {
		case <-ended:
			if draining {
				left -= n
			}
			draining = true
			if o.f.SetReadDeadline(time.Now().Add(drainPatience/drainLooks)) != nil {
				return
			}
		default:
		}
	}
}
