package egress

import (
	"bufio"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/egress/framing"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// strict puts the reader that takes HTTP/1 with one reading only between a connection and the HTTP
// side. In the place of anything else the HTTP side gets a request whose method nobody can guess,
// and answers it with why, in its turn.
func (s *server) strict(c net.Conn) net.Conn {
	f := flowOf(c)
	return framing.NewConn(c, s.e.cfg.Limits.HeaderBytes, func(fault *framing.Fault, whole bool) []byte {
		if !whole {
			f.cut.Store(fault) // some of it is being served: its exchange finds the fault
			return nil
		}
		f.fault.Store(fault)
		return []byte(s.e.refusal + " / HTTP/1.1\r\nHost: " + refusedHost + "\r\nConnection: close\r\n\r\n")
	})
}

// refusedHost stands in a refused request's replacement, where HTTP/1.1 wants one.
const refusedHost = "refused.invalid"

// refuse answers for a request that was not to be read.
func (x *exchange) refuse(fault *framing.Fault) {
	x.method, x.path = "", ""
	x.host, x.port = x.f.host, x.f.port
	x.deny(faultVerdict(fault), fault.Status)
}

func faultVerdict(fault *framing.Fault) policy.Verdict {
	return policy.Verdict{Why: "the request is malformed: " + fault.Why, Ask: "# nothing: send it as RFC 9112 has it\n"}
}

// takeOver returns the connection below a hijacked one, and what was read from it and belongs to
// whatever comes next.
func takeOver(c net.Conn, buffered *bufio.ReadWriter) (net.Conn, []byte) {
	peeked, _ := buffered.Peek(buffered.Reader.Buffered()) // they are there
	front := slices.Clone(peeked)
	if g, ok := c.(*framing.Conn); ok {
		return g.Conn, append(front, g.Raw()...)
	}
	return c, front
}

// passing are the headers about a connection that Connection may name. Anything else it names would
// be judged here and be gone upstream.
var passing = []string{"Close", "Keep-Alive", "Upgrade", "Te", "Trailer", "Http2-Settings", "Proxy-Connection", "Transfer-Encoding"}

// checkForm refuses what is well framed and may still be read in two ways: a method that some
// servers take for another, a Host beside HTTP/2's :authority, a header that Connection takes back,
// and what net/http lets pass in HTTP/2.
func (x *exchange) checkForm() (policy.Verdict, bool) {
	r := x.r
	no := func(why, what string) (policy.Verdict, bool) {
		return policy.Verdict{Why: why, Ask: "# nothing: " + what + "\n"}, true
	}
	if strings.ToUpper(r.Method) != r.Method {
		return no("the method "+quote(r.Method)+" is not written in capitals", "write the method in capitals")
	}
	for _, h := range r.Header["Host"] {
		if !strings.EqualFold(h, r.Host) {
			return no("host mismatch: the request names "+quote(r.Host)+" and, in a header, "+quote(h), "name one host")
		}
	}
	if r.ProtoMajor == 2 {
		if r.URL.Host != "" || r.URL.Scheme != "" {
			return no("the request's :path is not a path", "send a plain request")
		}
		if l := r.Header["Content-Length"]; len(l) > 1 || len(l) == 1 && l[0] != strconv.FormatInt(r.ContentLength, 10) {
			return no("the request's Content-Length is no plain number, or more than one", "send one length")
		}
	}
	for _, v := range r.Header["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if r.Header[name] != nil && !slices.Contains(passing, name) {
				return no("the header Connection takes back "+quote(name)+", which the request carries", "leave the header out")
			}
		}
	}
	return policy.Verdict{}, false
}
