//go:build linux

package probe

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// marker is the header with which the egress engine signs its refusals.
const (
	markerName  = "X-Claude-Bottle"
	markerValue = "denied"
)

// sshDenial begins the line the engine says on port 22, where a server speaks first.
const sshDenial = "claude-bottle: denied: "

// httpReply is as much of an HTTP/1 response as the probes look at.
type httpReply struct {
	status int
	denied bool // carries the engine's marker
	body   []byte
}

// parseHTTP reads a response head and what follows it. It accepts less than HTTP allows: whatever
// it does not understand is not the engine.
func parseHTTP(b []byte) (httpReply, bool) {
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		return httpReply{}, false
	}
	line, rest, _ := strings.Cut(string(head), "\r\n")
	proto, after, ok := strings.Cut(line, " ")
	if !ok || proto != "HTTP/1.1" && proto != "HTTP/1.0" {
		return httpReply{}, false
	}
	code, _, _ := strings.Cut(after, " ")
	status, err := strconv.Atoi(code)
	if err != nil || status < 100 || status > 999 {
		return httpReply{}, false
	}
	r := httpReply{status: status, body: body}
	for h := range strings.SplitSeq(rest, "\r\n") {
		k, v, ok := strings.Cut(h, ":")
		if ok && strings.EqualFold(k, markerName) && strings.TrimSpace(v) == markerValue {
			r.denied = true
		}
	}
	return r, true
}

// wholeHTTP reports whether b is a complete response: its body has the announced length. A response
// without one is complete when its connection ends.
func wholeHTTP(b []byte) bool {
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	for h := range strings.SplitSeq(string(head), "\r\n") {
		k, v, ok := strings.Cut(h, ":")
		if !ok || !strings.EqualFold(k, "Content-Length") {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
		return err == nil && uint64(len(body)) >= n
	}
	return false
}

// headHTTP reports whether b holds a complete head, which is all a CONNECT is answered with.
func headHTTP(b []byte) bool { return bytes.Contains(b, []byte("\r\n\r\n")) }

// refused judges an attack that the engine must answer with its marked refusal.
func refused(s *scene, t *talk) finding {
	for _, r := range t.replies {
		if s.hostSaid(r) {
			return leaked(t.String() + ": a listener on the host answered")
		}
	}
	got := t.reply()
	if bytes.HasPrefix(got, []byte(sshDenial)) && t.to.Port() == 22 {
		return stopped(fmt.Sprintf("%s: refused by the engine (in SSH's way)", t))
	}
	if r, ok := parseHTTP(got); ok && r.status == 403 && r.denied {
		return stopped(fmt.Sprintf("%s: refused by the engine (403)", t))
	}
	switch {
	case len(got) > 0:
		return leaked(fmt.Sprintf("%s: answered, and not by the engine: %s", t, firstLine(got)))
	case t.err != nil:
		return unclear(fmt.Sprintf("%s: %s instead of the engine's refusal", t, errText(t.err)))
	default:
		return unclear(fmt.Sprintf("%s: closed without the engine's refusal", t))
	}
}

// unroutable is refused, where the kernel may also say that there is no such way at all.
func unroutable(local ...error) func(*scene, *talk) finding {
	return func(s *scene, t *talk) finding {
		for _, err := range local {
			if len(t.reply()) == 0 && errors.Is(t.err, err) {
				return stopped(fmt.Sprintf("%s: %s", t, errText(err)))
			}
		}
		return refused(s, t)
	}
}

// closedPort is what a bottle's own kernel says where it can bring only the web's ports to the
// engine. That it is the bottle's kernel and not somebody outside is what the probe of the network
// devices proves.
var closedPort = unroutable(unix.ECONNREFUSED, unix.EAFNOSUPPORT, unix.EADDRNOTAVAIL, unix.ENETUNREACH)

// nowhere is what the kernel of a narrow network says of an address it has no way to.
var nowhere = unroutable(unix.ECONNREFUSED, unix.EAFNOSUPPORT, unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.EHOSTUNREACH)

// bare is refused for attacks on an address that no name stands for.
func bare(s *scene, t *talk) finding {
	if s.req.Narrow {
		return nowhere(s, t)
	}
	return refused(s, t)
}

// noIPv6 is what a kernel without IPv6, or without a route for it, says.
var noIPv6 = unroutable(unix.EAFNOSUPPORT, unix.EADDRNOTAVAIL, unix.ENETUNREACH)

// unanswered judges a datagram that must find no taker on this machine.
func unanswered(s *scene, t *talk) finding {
	if got := t.reply(); len(got) > 0 {
		return leaked(fmt.Sprintf("udp %s: answered with %d bytes", t, len(got)))
	}
	switch {
	case errors.Is(t.err, unix.ECONNREFUSED), errors.Is(t.err, unix.ENETUNREACH), errors.Is(t.err, unix.EHOSTUNREACH),
		errors.Is(t.err, unix.EADDRNOTAVAIL), errors.Is(t.err, unix.EAFNOSUPPORT), errors.Is(t.err, unix.EPERM), errors.Is(t.err, unix.EACCES):
		return stopped(fmt.Sprintf("udp %s: %s", t, errText(t.err)))
	case errors.Is(t.err, errSilent):
		return leaked(fmt.Sprintf("udp %s: sent, and nothing refused it", t))
	default:
		return unclear(fmt.Sprintf("udp %s: %s", t, errText(t.err)))
	}
}

// saysNonce judges a control: the engine's own host answered the request's nonce.
func saysNonce(s *scene, t *talk) finding {
	r, ok := parseHTTP(t.reply())
	switch {
	case ok && r.status == 200 && s.req.Nonce != "" && bytes.Contains(r.body, []byte(s.req.Nonce)):
		return works(fmt.Sprintf("%s by %s answered the nonce", s.req.ControlHost, t))
	case ok:
		return unclear(fmt.Sprintf("%s by %s answered %d without the nonce", s.req.ControlHost, t, r.status))
	case t.err != nil:
		return unclear(fmt.Sprintf("%s by %s: %s", s.req.ControlHost, t, errText(t.err)))
	default:
		return unclear(fmt.Sprintf("%s by %s: no HTTP answer", s.req.ControlHost, t))
	}
}

// firstLine makes the beginning of a stranger's answer fit for a report: short and inert.
func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strconv.QuoteToASCII(string(line[:min(len(line), 60)]))
}
