package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// recorder is an upstream that takes requests apart by itself, as strictly as they can be written,
// and notes each complete one.
type recorder struct {
	mu   sync.Mutex
	got  []string // method, target, host and size of the body
	bad  []string
	open sync.WaitGroup
}

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	b := bufio.NewReader(c)
	var head bytes.Buffer
	for !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
		x, err := b.ReadByte()
		if err != nil {
			return
		}
		head.WriteByte(x)
	}
	text := head.String()
	if ends := strings.Count(text, "\r\n"); strings.Count(text, "\n") != ends || strings.Count(text, "\r") != ends || strings.ContainsAny(text, "\x00") {
		r.note(&r.bad, text)
	}
	line, fields, _ := strings.Cut(text, "\r\n")
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields))).ReadMIMEHeader()
	parts := strings.Split(line, " ")
	if err != nil || len(parts) != 3 || len(h["Host"]) != 1 || len(h["Content-Length"])+len(h["Transfer-Encoding"]) > 1 {
		r.note(&r.bad, text)
		return
	}
	req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(text), b)))
	if err != nil {
		r.note(&r.bad, text)
		return
	}
	n, err := io.Copy(io.Discard, req.Body)
	if err != nil {
		return // it was never complete
	}
	r.note(&r.got, fmt.Sprint(req.Method, " ", req.Host, " ", parts[1], " ", n))
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") // a proxy that left knows
}

func (r *recorder) note(list *[]string, s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, s)
}

// FuzzB08WhatIsSentIsWhatWasJudged sends a byte stream on a connection to a host. Each request
// that an upstream then has complete is one that was judged, with the same method, target, host and
// body, and there are no others.
func FuzzB08WhatIsSentIsWhatWasJudged(f *testing.F) {
	for _, s := range []string{
		"GET /a HTTP/1.1\r\nHost: ok.test\r\n\r\nGET /b HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 4\r\n\r\nabcdGET /b HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: ok.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nX: y\r\n\r\nGET /b HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"GET http://ok.test/a HTTP/1.1\r\nHost: ok.test\r\nConnection: x\r\nTE: trailers\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: ok.test:80\r\n\r\n", "GET /\xc3\xbc#?%zz HTTP/1.0\r\nHost: ok.test\r\n\r\n",
		"PUT /a HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 1\r\n\r\nxGET /",
	} {
		f.Add([]byte(s))
	}
	p, err := policy.Compile([]policy.Route{route(f, "ok", "ok.test", plain)})
	if err != nil {
		f.Fatal(err)
	}
	authority := newAuthority(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		r := &recorder{}
		var judged []string
		e, err := egress.New(egress.Config{
			Policy: p, Authority: authority,
			Record: func(e audit.Event) {
				if e.Kind == audit.KindRequest && e.Verdict == "allow" {
					r.note(&judged, fmt.Sprint(e.Method, " ", e.Host, " ", e.Path, " ", e.BytesOut))
				}
			},
			Resolve: func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{okAddr}, nil },
			Dial: func(context.Context, string, netip.AddrPort) (net.Conn, error) {
				here, there := net.Pipe()
				r.open.Go(func() { r.serve(there) })
				return here, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.ServeProxy(ctx, l) }()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "CONNECT ok.test:80 HTTP/1.1\r\nHost: ok.test\r\n\r\n")
		readHead(t, c)
		_, _ = c.Write(in)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
		cancel()
		<-done
		r.open.Wait()
		if len(r.bad) > 0 {
			t.Fatalf("%q made the upstream read %q", in, r.bad)
		}
		left := judged
		for _, got := range r.got {
			method, rest, _ := strings.Cut(got, " ")
			found := false
			for i, j := range left {
				if same(method+" "+rest, j) {
					left = append(left[:i:i], left[i+1:]...)
					found = true
					break
				}
			}
			if !found {
				t.Fatalf("%q made the upstream read %q; judged were %q", in, r.got, judged)
			}
		}
	})
}

// same compares what an upstream read with an event, which has no query, and whose path is inert.
func same(got, judged string) bool {
	g, j := strings.Fields(got), strings.Fields(judged)
	if len(g) != 4 || len(j) < 4 || g[0] != j[0] || g[1] != j[1] || g[3] != j[len(j)-1] {
		return false
	}
	path, _, _ := strings.Cut(g[2], "?")
	return path == j[2] || strings.ContainsAny(judged, "\\%") || len(path) > 500
}
