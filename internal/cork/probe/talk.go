//go:build linux

package probe

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// maxReply bounds what one exchange reads. Everything that answers is untrusted, the more so when
// it is not the engine.
const maxReply = 16 << 10

// errSilent is a talk's error when the deadline came first.
var errSilent = errors.New("no answer in time")

// exchange is one question and its answer within a talk.
type exchange struct {
	send   []byte
	enough func(reply []byte) bool // the answer is complete
	// onward reports whether the next exchange makes sense after this answer; nil is yes.
	onward func(reply []byte) bool
}

// talk is one conversation with an address: TCP, or UDP when udp is set. It is run by scene.converse
// and read by the probes afterwards.
type talk struct {
	to     netip.AddrPort
	label  string // what a report calls it; empty means its address
	udp    bool
	script []exchange
	// after delays the talk until another one is over; where then tells the address.
	after *talk
	where func() (netip.AddrPort, error)
	// brief bounds a talk that only the kernel has to answer, which it does at once; 0 is no bound
	// but the common one.
	brief time.Duration

	fd        int
	started   bool
	connected bool
	over      bool
	step      int
	sent      int
	began     time.Time
	took      time.Duration

	replies [][]byte // one for each exchange begun, complete or not
	err     error    // why it ended early; nil when the script ran or the peer closed
}

// String names the talk in a report.
func (t *talk) String() string {
	if t.label != "" {
		return t.label
	}
	return t.to.String()
}

// reply returns what was answered in the last exchange that got any bytes.
func (t *talk) reply() []byte {
	for i := len(t.replies) - 1; i >= 0; i-- {
		if len(t.replies[i]) > 0 {
			return t.replies[i]
		}
	}
	return nil
}

// start opens the socket and begins to connect.
func (t *talk) start(now time.Time) {
	t.started, t.began, t.fd = true, now, -1
	if t.where != nil {
		to, err := t.where()
		if err != nil {
			t.end(err)
			return
		}
		t.to = to
	}
	family, kind := unix.AF_INET6, unix.SOCK_STREAM
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(t.to.Port()), Addr: t.to.Addr().As16()}
	if t.to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(t.to.Port()), Addr: t.to.Addr().As4()}
	}
	if t.udp {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.end(err)
		return
	}
	t.fd = fd
	switch err := unix.Connect(fd, sa); {
	case err == nil:
		t.connected = true
		t.write()
	case !errors.Is(err, unix.EINPROGRESS):
		t.end(err)
	}
}

// end closes the talk for err, or for its natural end when err is nil.
func (t *talk) end(err error) {
	t.over, t.err, t.took = true, err, time.Since(t.began)
	if t.fd >= 0 {
		_ = unix.Close(t.fd) // nothing buffered, nothing to lose
		t.fd = -1
	}
}

// wants are the poll events the talk waits for.
func (t *talk) wants() int16 {
	if !t.connected || t.sent < len(t.script[t.step].send) {
		return unix.POLLOUT | unix.POLLIN
	}
	return unix.POLLIN
}

// advance moves the talk on after poll returned events for it.
func (t *talk) advance() {
	if !t.connected {
		errno, err := unix.GetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
		if err != nil {
			t.end(err)
			return
		}
		t.connected = true
	}
	t.write()
	if !t.over {
		t.read()
	}
}

// write sends what is left of the current question.
func (t *talk) write() {
	if t.step == len(t.replies) {
		t.replies = append(t.replies, nil)
	}
	for q := t.script[t.step].send; t.sent < len(q); {
		n, err := unix.SendmsgN(t.fd, q[t.sent:], nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case err == nil:
			t.sent += n
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
			// The peer may have answered before it closed: what it said is still to be read.
			t.sent = len(q)
		default:
			t.end(err)
			return
		}
	}
}

// read takes what arrived and goes on to the next exchange when the answer is complete.
func (t *talk) read() {
	var buf [4096]byte
	for {
		n, err := unix.Read(t.fd, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			t.end(err)
			return
		case n == 0 && !t.udp:
			t.end(nil)
			return
		}
		in := append(t.replies[t.step], buf[:n]...)
		t.replies[t.step] = in
		x := t.script[t.step]
		switch {
		case x.enough(in):
			if t.step++; t.step == len(t.script) || x.onward != nil && !x.onward(in) {
				t.end(nil)
				return
			}
			t.sent = 0
			if t.write(); t.over {
				return
			}
		case len(in) > maxReply:
			t.end(nil)
			return
		}
	}
}

// converse runs every talk of the probes, all at once, until each is over or the deadline came.
func (s *scene) converse(probes []*networkProbe, deadline time.Time) {
	var talks []*talk
	seen := map[*talk]bool{}
	for _, p := range probes {
		for _, a := range append(p.attacks, p.controls...) {
			if !seen[a.talk] {
				seen[a.talk] = true
				talks = append(talks, a.talk)
			}
		}
	}
	fds := make([]unix.PollFd, 0, len(talks))
	live := make([]*talk, 0, len(talks))
	for {
		now := time.Now()
		fds, live = fds[:0], live[:0]
		waiting := false
		wait := deadline.Sub(now)
		for _, t := range talks {
			if !t.started && (t.after == nil || t.after.over) {
				t.start(now)
			}
			if t.brief > 0 && t.started && !t.over && now.Sub(t.began) >= t.brief {
				t.end(errSilent)
			}
			switch {
			case t.over:
			case !t.started:
				waiting = true
			default:
				if t.brief > 0 {
					wait = min(wait, t.brief-now.Sub(t.began))
				}
				fds = append(fds, unix.PollFd{Fd: int32(t.fd), Events: t.wants()})
				live = append(live, t)
			}
		}
		if len(live) == 0 && waiting && now.Before(deadline) {
			continue // what the waiting ones waited for ended in this very round
		}
		if len(live) == 0 && !waiting {
			return
		}
		if !now.Before(deadline) {
			break
		}
		n, err := unix.Poll(fds, int(wait.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
		for i := 0; n > 0 && i < len(fds); i++ {
			if fds[i].Revents != 0 {
				live[i].advance()
			}
		}
	}
	for _, t := range talks {
		if !t.started {
			t.began, t.fd = time.Now(), -1
		}
		if !t.over {
			t.end(errSilent)
		}
	}
}
