package usage

import (
	"bytes"
	"io"
	"mime"
	"net/url"
	"strings"
)

// Answer is what is known of a response before its body.
type Answer struct {
	// Path is the request's path, escaped or not, without the query.
	Path string
	// ContentType is the response's header, empty where there is none.
	ContentType string
	Status      int
}

// endpoints end the paths of requests that models answer, on whatever host: gateways put their own
// path before them.
var endpoints = []string{"/messages", "/chat/completions", "/completions", "/responses", "/responses/compact"}

// ModelPath reports whether a request for path, escaped or not, is answered by a model.
func ModelPath(path string) bool {
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	path = strings.TrimRight(strings.ToLower(path), "/")
	for _, e := range endpoints {
		if strings.HasSuffix(path, e) {
			return true
		}
	}
	return false
}

// form is how a body holds its documents.
type form uint8

const (
	unsure form = iota // the first byte will tell
	oneDocument
	eventStream
)

// Parser reads the usage out of one answer's body. Its memory is the Parser itself, whatever
// passes. A nil Parser reads nothing. It is not safe for concurrent use.
type Parser struct {
	form form
	line lineKind
	data int // how much of "data:" a line that may be data has shown
	doc  document
}

// NewParser returns a Parser for the body of a, or nil when no model answers that.
func NewParser(a Answer) *Parser {
	if a.Status < 200 || a.Status > 299 || !ModelPath(a.Path) {
		return nil
	}
	kind, _, err := mime.ParseMediaType(a.ContentType)
	switch {
	case a.ContentType == "" || err != nil:
		return &Parser{}
	case kind == "text/event-stream":
		return &Parser{form: eventStream}
	case kind == "application/json", strings.HasSuffix(kind, "+json"):
		return &Parser{form: oneDocument}
	}
	return nil
}

// Write reads the next bytes of the body, with every content coding undone. It keeps nothing of b
// and never fails.
func (p *Parser) Write(b []byte) (int, error) {
	if p == nil {
		return len(b), nil
	}
	n := len(b)
	if p.form == unsure {
		if b = bytes.TrimLeft(b, " \t\r\n"); len(b) == 0 {
			return n, nil
		}
		if p.form = eventStream; b[0] == '{' {
			p.form = oneDocument
		}
	}
	if p.form == oneDocument {
		p.doc.write(b)
	} else {
		p.events(b)
	}
	return n, nil
}

// Usage returns what the answer has told so far: all of it at the end of the body, or what had
// come when it broke off. It is false when no model spoke. A Usage with a name and no tokens is a
// model that told none, as OpenAI's stream without stream_options.include_usage.
func (p *Parser) Usage() (Usage, bool) {
	if p == nil {
		return Usage{}, false
	}
	return p.doc.usage()
}

// Tap returns body, with all that is read from it written to p too.
func Tap(body io.ReadCloser, p *Parser) io.ReadCloser {
	if p == nil {
		return body
	}
	return &tapped{body, p}
}

type tapped struct {
	io.ReadCloser
	p *Parser
}

func (t *tapped) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	_, _ = t.p.Write(b[:n]) // it can't fail
	return n, err
}

// lineKind says what the line of an event stream is that is being read.
type lineKind uint8

const (
	lineStart lineKind = iota // it may yet be data
	lineData
	lineOther // a comment, or a field that is not data
)

var dataField = []byte("data:")

// events reads an event stream: https://html.spec.whatwg.org/multipage/server-sent-events.html. The
// data of an event is one document, over several lines if need be. Of the line ends that are
// allowed there a bare carriage return is not understood: no API uses it.
func (p *Parser) events(b []byte) {
	for len(b) > 0 {
		if p.line == lineStart {
			b = p.start(b)
			continue
		}
		line, ended := b, false
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, ended = b[:i], true
		}
		if p.line == lineData {
			p.doc.write(line)
		}
		if !ended {
			return
		}
		p.line, p.data = lineStart, 0
		b = b[len(line)+1:]
	}
}

// start reads the beginning of a line and returns what comes after it.
func (p *Parser) start(b []byte) []byte {
	if p.data == 0 {
		switch {
		case bytes.HasPrefix(b, dataField):
			p.line = lineData
			return b[len(dataField):]
		case b[0] == '\n':
			p.doc.next() // an empty line ends the event
			return b[1:]
		case b[0] == '\r':
			return b[1:]
		}
	}
	if b[0] != dataField[p.data] {
		p.line = lineOther
		return b
	}
	if p.data++; p.data == len(dataField) {
		p.line = lineData
	}
	return b[1:]
}

// Messages reads the usage out of what an upstream says on a WebSocket, where every text message is
// one event of OpenAI's Responses. The zero Messages is ready. It is not safe for concurrent use.
type Messages struct{ doc document }

// Write reads the next bytes of the current message, with compression undone. It keeps nothing of b
// and never fails.
func (m *Messages) Write(b []byte) (int, error) {
	m.doc.write(b)
	return len(b), nil
}

// End ends the current message. When that was the last of an answer, it returns what the answer
// took, once.
func (m *Messages) End() (Usage, bool) {
	m.doc.next()
	if !m.doc.counted {
		return Usage{}, false
	}
	u, ok := m.doc.usage()
	m.doc.tally = tally{}
	return u, ok
}
