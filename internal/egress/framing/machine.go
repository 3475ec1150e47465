package framing

import (
	"bytes"
	"net/http"
	"strings"
)

// state is where in a connection's stream of requests the machine stands.
type state uint8

const (
	atLine    state = iota // before a request line
	atField                // in the head, after its first line
	atBody                 // in a body of known length
	atSize                 // before a chunk's size
	atChunk                // in a chunk's data
	atEnd                  // before the line end after a chunk's data
	atTrailer              // after the last chunk
	atTunnel               // after CONNECT: nothing is looked at any more
)

const (
	// maxSizeDigits bounds a chunk's size to 60 bits, with room for a few leading zeros.
	maxSizeDigits = 15
	// maxTrailers bounds trailers, in bytes: less than what net/http takes, so that they are refused here.
	maxTrailers = 2 << 10
	// maxLengthDigits bounds Content-Length to what an int64 holds.
	maxLengthDigits = 18
)

// machine follows one connection's requests. It needs whole lines and keeps none.
type machine struct {
	state  state
	limit  int   // bytes of a head
	used   int   // of limit
	seen   int   // bytes of the current line known to hold no line end
	remain int64 // of a body or a chunk

	// Of the head being read.
	connect, old bool // CONNECT; HTTP/1.0
	target, host string
	hosts        int
	length       int64 // -1: none
	chunked      bool
}

func bad(why string) *Fault { return &Fault{Status: http.StatusBadRequest, Why: why} }

// step consumes one line, or what there is of a body, and returns how many bytes that were; none
// when b holds no whole line.
func (m *machine) step(b []byte) (int, *Fault) {
	switch m.state {
	case atBody, atChunk:
		n := int(min(m.remain, int64(len(b))))
		if m.remain -= int64(n); m.remain == 0 {
			if m.state == atChunk {
				m.state = atEnd
			} else {
				m.state = atLine
			}
		}
		return n, nil
	case atTunnel:
		return len(b), nil
	}
	line, n, fault := m.line(b)
	if n == 0 || fault != nil {
		return 0, fault
	}
	switch m.state {
	case atLine:
		fault = m.first(line)
	case atField:
		if len(line) == 0 {
			fault = m.headEnd()
		} else {
			fault = m.field(line)
		}
	case atSize:
		fault = m.size(line)
	case atEnd:
		if m.state, m.used = atSize, 0; len(line) > 0 {
			fault = bad("a chunk is longer than its size says")
		}
	case atTrailer:
		if len(line) == 0 {
			m.state, m.used = atLine, 0
		} else {
			fault = trailer(line)
		}
	}
	return n, fault
}

// line returns the first line of b without its end, and how many bytes it takes with it.
func (m *machine) line(b []byte) ([]byte, int, *Fault) {
	i := bytes.IndexByte(b[m.seen:], '\n')
	if i < 0 {
		m.seen = len(b)
		if m.used+m.seen > m.most() {
			return nil, 0, m.tooLong()
		}
		// A chunk is at an end: only a line end may follow, and nobody need wait for more of it.
		if m.state == atEnd && (len(b) > 1 || b[0] != '\r') {
			return nil, 0, bad("a chunk is longer than its size says")
		}
		return nil, 0, nil
	}
	end := m.seen + i
	m.seen = 0
	if m.used += end + 1; m.used > m.most() {
		return nil, 0, m.tooLong()
	}
	if end == 0 || b[end-1] != '\r' {
		return nil, 0, bad("a line ends in a bare line feed")
	}
	return b[:end-1], end + 1, nil
}

// most is how many bytes what is being read may have.
func (m *machine) most() int {
	if m.state == atTrailer {
		return min(m.limit, maxTrailers)
	}
	return m.limit
}

func (m *machine) tooLong() *Fault {
	return &Fault{Status: http.StatusRequestHeaderFieldsTooLarge, Why: "its header or trailer is too long"}
}

// first reads a request line: RFC 9112 section 3, with single spaces and nothing else.
func (m *machine) first(line []byte) *Fault {
	method, rest, ok1 := bytes.Cut(line, []byte{' '})
	target, version, ok2 := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || len(target) == 0 || !all(method, isToken) || bytes.IndexByte(version, ' ') >= 0 {
		return bad("its first line is not a method, a target and HTTP/1.1")
	}
	if !all(target, isTarget) {
		return bad("its target holds a control character")
	}
	m.connect, m.old, m.target, m.host, m.hosts, m.length, m.chunked = false, false, "", "", 0, -1, false
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		m.old = true
	case "HTTP/2.0":
		return &Fault{Status: http.StatusHTTPVersionNotSupported, Why: "HTTP/2 without TLS is not served here: use HTTP/1.1, or HTTP/2 over TLS"}
	default:
		return &Fault{Status: http.StatusHTTPVersionNotSupported, Why: "it speaks neither HTTP/1.1 nor HTTP/1.0"}
	}
	m.connect = string(method) == http.MethodConnect
	if target[0] != '/' && !m.connect {
		m.target = authority(string(target))
	}
	m.state = atField
	return nil
}

// field reads a line of the head: RFC 9112 section 5.
func (m *machine) field(line []byte) *Fault {
	name, value, fault := split(line)
	if fault != nil {
		return fault
	}
	switch {
	case is(name, "content-length"):
		switch {
		case m.length >= 0:
			return bad("it has more than one Content-Length")
		case len(value) == 0 || len(value) > maxLengthDigits || value[0] == '0' && len(value) > 1:
			return bad("its Content-Length is no plain number")
		}
		m.length = 0
		for _, d := range value {
			if d < '0' || d > '9' {
				return bad("its Content-Length is no plain number")
			}
			m.length = m.length*10 + int64(d-'0')
		}
	case is(name, "transfer-encoding"):
		switch {
		case m.chunked:
			return bad("it has more than one Transfer-Encoding")
		case string(value) != "chunked":
			return bad("its Transfer-Encoding is not exactly chunked")
		}
		m.chunked = true
	case is(name, "host"):
		if m.hosts++; m.hosts > 1 {
			return bad("it has more than one Host")
		}
		m.host = ""
		if m.target != "" {
			m.host = string(value)
		}
	}
	return nil
}

// headEnd decides what follows the head: RFC 9112 section 6, without its leniences.
func (m *machine) headEnd() *Fault {
	m.used = 0
	switch {
	case m.chunked && m.length >= 0:
		return bad("it has both a Content-Length and a Transfer-Encoding")
	case m.chunked && m.old:
		return bad("it has a Transfer-Encoding in HTTP/1.0")
	case m.hosts == 0 && !m.old:
		return bad("it has no Host")
	case m.target != "" && m.hosts > 0 && !sameHost(m.target, m.host):
		return bad("host mismatch: its target and its Host name different hosts")
	case m.connect && (m.chunked || m.length > 0):
		return bad("it is a CONNECT with a body")
	case m.connect:
		m.state = atTunnel
	case m.chunked:
		m.state = atSize
	case m.length > 0:
		m.state, m.remain = atBody, m.length
	default:
		m.state = atLine
	}
	return nil
}

// size reads the line before a chunk's data: RFC 9112 section 7.1, without extensions, which
// nobody uses and parsers disagree about.
func (m *machine) size(line []byte) *Fault {
	m.used = 0
	if len(line) == 0 || len(line) > maxSizeDigits {
		return bad("a chunk's size is no plain hexadecimal number")
	}
	m.remain = 0
	for _, d := range line {
		v := hex[d]
		if v < 0 {
			return bad("a chunk's size is no plain hexadecimal number (and chunk extensions are not taken)")
		}
		m.remain = m.remain<<4 | int64(v)
	}
	m.state = atChunk
	if m.remain == 0 {
		m.state = atTrailer
	}
	return nil
}

// trailer reads a line after the last chunk. Fields that frame, route, identify or say how a
// request is to be read come too late to be judged there: RFC 9110 section 6.5.1.
func trailer(line []byte) *Fault {
	name, _, fault := split(line)
	if fault != nil {
		return fault
	}
	if lower := strings.ToLower(string(name)); early[lower] || strings.HasPrefix(lower, "if-") || strings.HasPrefix(lower, "proxy-") {
		return bad("its trailer carries a field that belongs in the header")
	}
	return nil
}

// split takes a field line apart. A name goes up to the colon; a line that begins with a space is
// the obsolete folding of RFC 9112 section 5.2.
func split(line []byte) (name, value []byte, fault *Fault) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, bad("its header has a folded line")
	}
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(name) == 0 || !all(name, isToken) {
		return nil, nil, bad("its header has a line that is not a name, a colon and a value")
	}
	value = bytes.Trim(value, " \t")
	if !all(value, isValue) {
		return nil, nil, bad("its header holds a control character")
	}
	return name, value, nil
}

// authority returns an absolute target's host and port; "" when there is none.
func authority(target string) string {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return strings.ToLower(scheme) + "://" + rest
}

// sameHost compares an absolute target's authority with a Host, whose port may be left out when it
// is the scheme's own.
func sameHost(target, host string) bool {
	scheme, named, _ := strings.Cut(target, "://")
	port := ":80"
	if scheme == "https" {
		port = ":443"
	}
	return strings.EqualFold(strings.TrimSuffix(named, port), strings.TrimSuffix(host, port))
}
