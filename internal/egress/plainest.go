package egress

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// maxLaneBody bounds the body of a request for a lane, in bytes: what a socket takes without the
// upstream's reading it, as a rule, so that one that answers early is heard.
const maxLaneBody = 64 << 10

// plainest reports whether a request is one for a lane: HTTP/1.1 without anything that has to be
// waited for before all of it can be written.
func (x *exchange) plainest(out *http.Request) bool {
	if x.r.ProtoMajor != 1 || x.upgrade || out.Header["Expect"] != nil {
		return false
	}
	return out.Body == nil || x.inMemory() && out.ContentLength <= maxLaneBody
}

// inMemory reports whether the request's body was read already, which looking into it may have
// needed. Such a body knows how much is left of it.
func (x *exchange) inMemory() bool {
	if x.body == nil || x.r.ContentLength < 0 {
		return false
	}
	_, ok := x.body.ReadCloser.(interface{ Len() int })
	return ok
}

// repeatable reports whether a request may be sent again when nothing came of it: it changes nothing,
// by RFC 9110 section 9.2.1, and nobody need have its body twice.
func repeatable(out *http.Request) bool {
	switch out.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return out.Body == nil
	}
	return false
}

// requests lends room for requests as they are written.
var requests = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// compose writes a whole request, of which nothing has been read.
func compose(b *bytes.Buffer, out *http.Request) error {
	b.WriteString(out.Method)
	b.WriteByte(' ')
	b.WriteString(out.URL.RequestURI())
	b.WriteString(" HTTP/1.1\r\nHost: ")
	b.WriteString(out.URL.Host)
	b.WriteString("\r\n")
	never := neverWritten
	if out.Header.Get("User-Agent") == "" {
		never = norWhoAsks
	}
	_ = out.Header.WriteSubset(b, never) // a Buffer takes everything
	if out.Body == nil {
		switch out.Method {
		case http.MethodPost, http.MethodPut, http.MethodPatch:
			b.WriteString("Content-Length: 0\r\n") // RFC 9110 section 8.6
		}
		b.WriteString("\r\n")
		return nil
	}
	b.WriteString("Content-Length: ")
	b.Write(strconv.AppendInt(b.AvailableBuffer(), out.ContentLength, 10))
	b.WriteString("\r\n\r\n")
	n, err := b.ReadFrom(io.LimitReader(out.Body, out.ContentLength))
	if err == nil && n != out.ContentLength {
		err = fmt.Errorf("the request's body has %d bytes, not the %d it promised", n, out.ContentLength)
	}
	return err
}

// neverWritten are framed by us.
var (
	neverWritten = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Trailer": true, "Host": true}
	norWhoAsks   = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Trailer": true, "Host": true, "User-Agent": true}
)
