//go:build linux

package confine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
)

// maxOpenFiles is the agent's limit of open files where the host's is higher.
const maxOpenFiles = 1 << 16

// processSlack is by how much the hard limit of processes exceeds the soft one, which is the
// agent's: cork's own threads, where they count as the agent's, must not be what it runs into.
const processSlack = 256

// Ceilings are what no process of a bottle may exceed; zero fields are no limit of that kind.
type Ceilings struct {
	FileSize uint64 // bytes of a single file
	PIDs     uint64 // processes of the agent's; the hard limit leaves room for cork's threads
}

// Lower sets the limits that all processes of the bottle have in common, cork included. They are
// inherited, and can't be raised again: the agent has no capability.
func Lower(s Ceilings) error {
	if leak.On("no-rlimits") {
		return nil
	}
	wanted := []struct {
		what     string
		resource int
		max      uint64
	}{
		{"core files", unix.RLIMIT_CORE, 0},
		{"open files", unix.RLIMIT_NOFILE, maxOpenFiles},
		{"queued messages", unix.RLIMIT_MSGQUEUE, 819200},
		{"locked memory", unix.RLIMIT_MEMLOCK, 64 << 20},
		{"real-time priority", unix.RLIMIT_RTPRIO, 0},
		{"file size", unix.RLIMIT_FSIZE, s.FileSize},
		{"processes", unix.RLIMIT_NPROC, s.PIDs + processSlack},
	}
	for _, w := range wanted {
		unset := w.resource == unix.RLIMIT_FSIZE && s.FileSize == 0 || w.resource == unix.RLIMIT_NPROC && s.PIDs == 0
		if unset {
			continue
		}
		var l unix.Rlimit
		if err := unix.Prlimit(0, w.resource, nil, &l); err != nil {
			return fmt.Errorf("limit of %s: %w", w.what, err)
		}
		l.Max = min(l.Max, w.max)
		l.Cur = min(l.Cur, l.Max)
		err := unix.Prlimit(0, w.resource, &l, nil)
		if errors.Is(err, unix.EPERM) && (w.resource == unix.RLIMIT_MSGQUEUE || w.resource == unix.RLIMIT_RTPRIO) {
			continue // Linux lets anybody lower a limit; gVisor has no such thing to limit, and says it so
		}
		if err != nil {
			return fmt.Errorf("limit of %s: %w", w.what, err)
		}
	}
	return nil
}
