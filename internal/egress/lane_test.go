package egress_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// scripted is an upstream that answers each request on a connection with what reply says, given the
// connection's number and the request's on it: parts with | between them, which come together, each in
// a TLS record of its own, and $ for the end of the connection.
func (w *world) scripted(secure bool, reply func(conn, request int) string) *atomic.Int64 {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	conns := new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := int(conns.Add(1))
			go func() {
				defer c.Close()
				socket := &corked{Conn: c}
				c = socket
				if secure {
					c = tls.Server(c, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return w.pki.Leaf(h.ServerName) }})
				}
				r := bufio.NewReader(c)
				for i := 1; ; i++ {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					answer, last := strings.CutSuffix(reply(n, i), "$")
					// Separate writes are separate TLS records. Had the socket them one by one, the next
					// request could be there in between.
					socket.hold = true
					for part := range strings.SplitSeq(answer, "|") {
						_, _ = io.WriteString(c, part)
					}
					socket.hold = false
					_, _ = socket.Write(nil)
					if last {
						return
					}
				}
			}()
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	port := uint16(80)
	if secure {
		port = 443
	}
	w.ports[netip.AddrPortFrom(okAddr, port)] = l.Addr().String()
	return conns
}

// asker is a program that asks over one HTTP/1.1 connection, kept alive. What it posts has a body.
func (w *world) asker(secure bool) func(method string) (*http.Response, string) {
	c := w.client()
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	return func(method string) (*http.Response, string) {
		if method == http.MethodPost {
			return post(w.t, c, scheme(secure)+"://ok.test/api", "text/plain", "a question", nil)
		}
		return do(w.t, c, method, scheme(secure)+"://ok.test/", nil)
	}
}

func scheme(secure bool) string {
	if secure {
		return "https"
	}
	return "http"
}

func TestConnectionsUpstreamAreKeptAndReplaced(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, c := range map[string]struct {
		reply func(conn, request int) string
		conns int64 // that four requests need
	}{
		"kept": {func(_, _ int) string { return ok }, 1},
		"kept, chunked": {func(_, _ int) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
		}, 1},
		"hints before":        {func(_, _ int) string { return "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok }, 1},
		"closed as announced": {func(_, _ int) string { return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok" }, 4},
		"HTTP/1.0":            {func(_, _ int) string { return "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok" }, 4},
		"ended when asked": {func(_, request int) string {
			if request == 2 {
				return "$"
			}
			return ok
		}, 4},
		"answers nobody asked for":     {func(_, _ int) string { return ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" }, 4},
		"the same in its own TLS part": {func(_, _ int) string { return ok + "|HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" }, 4},
	} {
		for _, method := range []string{"GET", "POST"} {
			if method == "POST" && name == "ended when asked" {
				continue // it may have been done: see TestNothingIsPostedTwice
			}
			for _, secure := range []bool{false, true} {
				w := newWorld(t, standard(t))
				conns := w.scripted(secure, c.reply)
				ask := w.asker(secure)
				for i := range 4 {
					if res, body := ask(method); res.StatusCode != 200 || body != "ok" {
						t.Errorf("%s, %s, TLS %v, request %d: %d %q", name, method, secure, i, res.StatusCode, body)
					}
				}
				if n := conns.Load(); n != c.conns {
					t.Errorf("%s, %s, TLS %v: %d connections", name, method, secure, n)
				}
			}
		}
	}
}

// What came on a connection while nobody asked is not the next one's answer.
func TestAnswersThatCameAfterTheLastAreNobodys(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		w := newWorld(t, standard(t))
		var conns atomic.Int64
		speak, spoke := make(chan struct{}), make(chan struct{})
		w.server(secure, func(_ int, c net.Conn, r *bufio.Reader) {
			conns.Add(1)
			for answerOne(c, r, okAnswer) {
				<-speak
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				spoke <- struct{}{}
			}
		})
		ask := w.asker(secure)
		for i, method := range []string{"GET", "POST", "GET", "POST"} {
			if res, body := ask(method); res.StatusCode != 200 || body != "ok" {
				t.Errorf("TLS %v, request %d: %d %q", secure, i, res.StatusCode, body)
			}
			speak <- struct{}{}
			<-spoke
		}
		if n := conns.Load(); n != 4 {
			t.Errorf("TLS %v: %d connections", secure, n)
		}
	}
}

func TestUpstreamAnswersThatBreakOffDoNotLookComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	w.scripted(false, func(conn, _ int) string {
		if conn == 1 {
			return "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nhalf$"
		}
		return "$"
	})
	c := w.client()
	if res, err := c.Get("http://ok.test/"); err == nil {
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil {
			t.Errorf("%d %q looks complete", res.StatusCode, body)
		}
	}
	if res, body := w.asker(false)("GET"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("an upstream that says nothing: %d %q", res.StatusCode, body)
	}
}

func TestAnUpstreamsHeaderIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	w.scripted(false, func(_, _ int) string {
		return "HTTP/1.1 200 OK\r\n" + strings.Repeat(fmt.Sprintf("X-Long: %01000d\r\n", 0), 400) + "\r\n"
	})
	if res, body := w.asker(false)("GET"); res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "header is longer") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	// HEAD has a length and no body.
	w = newWorld(t, standard(t))
	w.scripted(false, func(_, _ int) string { return "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" })
	ask := w.asker(false)
	for range 2 {
		if res, body := ask("HEAD"); res.StatusCode != 200 || res.ContentLength != 20 || body != "" {
			t.Errorf("%d %d %q", res.StatusCode, res.ContentLength, body)
		}
	}
}

func TestAnyNumberOfHostsIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	ask := w.client()
	for i := range 70 {
		host := fmt.Sprintf("h%d.wild.test", i)
		w.mu.Lock()
		w.hosts[host] = []netip.Addr{okAddr}
		w.mu.Unlock()
		if res, body := get(t, ask, "http://"+host+"/"); res.StatusCode != 200 {
			t.Fatalf("%s: %d %q", host, res.StatusCode, body)
		}
	}
}
