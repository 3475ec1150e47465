//go:build linux

package probe

import (
	"bytes"
	"errors"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// scene is what the probes of one run share.
type scene struct {
	req      wire.ProbeRequest
	unlisted string
	status   map[string]string // /proc/thread-self/status; nil when it can't be read
	writable func() finding    // the control of everything that must not be writable, tried once
}

func newScene(req wire.ProbeRequest) *scene {
	s := &scene{req: req, unlisted: req.Unlisted, writable: sync.OnceValue(writable)}
	if s.unlisted == "" {
		s.unlisted = "example.com"
	}
	// /proc/self would be the thread group's leader: cork, which is confined otherwise.
	if b, err := readFile("/proc/thread-self/status", 1<<16); err == nil {
		s.status = map[string]string{}
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok {
				s.status[k] = strings.TrimSpace(v)
			}
		}
	}
	return s
}

// hostSaid reports whether b holds the nonce that only the host's baits tell.
func (s *scene) hostSaid(b []byte) bool {
	return s.req.HostNonce != "" && bytes.Contains(b, []byte(s.req.HostNonce))
}

// readFile reads at most limit bytes of a file, without the runtime's poller, which would move
// the read to another thread's care.
func readFile(path string, limit int) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) // only ever read from
	var out []byte
	buf := make([]byte, 8192)
	for len(out) < limit {
		n, err := unix.Read(fd, buf[:min(len(buf), limit-len(out))])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return out, err
		}
		if n == 0 {
			break
		}
		out = append(out, buf[:n]...)
	}
	return out, nil
}

// errText names an errno the way its manual page does, so that a report can be looked up.
func errText(err error) string {
	if e, ok := errors.AsType[unix.Errno](err); ok && errors.Unwrap(err) == nil {
		if name := unix.ErrnoName(e); name != "" {
			return name
		}
	}
	return err.Error()
}
