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

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// server is an upstream for ok.test that gives each connection, by its number, to serve.
func (w *world) server(secure bool, serve func(n int, c net.Conn, r *bufio.Reader)) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if secure {
				c = tls.Server(&corked{Conn: c}, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return w.pki.Leaf(h.ServerName) }})
			}
			w.t.Cleanup(func() { _ = c.Close() })
			go serve(n, c, bufio.NewReaderSize(c, 64))
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	port := uint16(80)
	if secure {
		port = 443
	}
	w.ports[netip.AddrPortFrom(okAddr, port)] = l.Addr().String()
}

// corked is a connection that sends nothing while it holds.
type corked struct {
	net.Conn
	hold bool
	kept []byte
}

func (c *corked) Write(p []byte) (int, error) {
	if c.kept = append(c.kept, p...); c.hold || len(c.kept) == 0 {
		return len(p), nil
	}
	_, err := c.Conn.Write(c.kept)
	c.kept = nil
	return len(p), err
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// answerOne reads a request to its end and answers it.
func answerOne(c net.Conn, r *bufio.Reader, answer string) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return false
	}
	_, err = io.WriteString(c, answer)
	return err == nil
}

func TestNothingIsPostedTwice(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		w := newWorld(t, standard(t))
		var seen atomic.Int64
		w.server(secure, func(_ int, c net.Conn, r *bufio.Reader) {
			defer c.Close()
			for answerOne(c, r, okAnswer) {
				if seen.Add(1) > 1 { // the second request is read and not answered
					if req, err := http.ReadRequest(r); err == nil {
						_, _ = io.Copy(io.Discard, req.Body)
						seen.Add(1)
					}
					return
				}
			}
		})
		ask := w.asker(secure)
		for i, want := range []int{200, 200, 502} {
			if res, body := ask("POST"); res.StatusCode != want {
				t.Errorf("TLS %v, request %d: %d %q", secure, i, res.StatusCode, body)
			}
		}
		if n := seen.Load(); n != 3 {
			t.Errorf("TLS %v: the upstream saw %d requests", secure, n)
		}
	}
}

func TestAPostTakesNoConnectionThatEnded(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		w := newWorld(t, standard(t))
		ended := make(chan struct{})
		w.server(secure, func(_ int, c net.Conn, r *bufio.Reader) {
			answerOne(c, r, okAnswer)
			_ = c.Close() // which it did not announce
			ended <- struct{}{}
		})
		ask := w.asker(secure)
		for i := range 3 {
			if res, body := ask("POST"); res.StatusCode != 200 {
				t.Errorf("TLS %v, request %d: %d %q", secure, i, res.StatusCode, body)
			}
			<-ended
		}
	}
}

func TestBodiesOfAllSizesArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c := w.client()
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	for _, size := range []int{1, 200, 4 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 3 << 20} {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, "line %d of a long question\n", i)
		}
		want := b.String()[:size]
		for _, secure := range []bool{false, true} {
			if res, got := post(t, c, scheme(secure)+"://ok.test/api/echo", "text/plain", want, nil); res.StatusCode != 200 || got != want {
				t.Errorf("%d bytes, TLS %v: %d, %d bytes came back", size, secure, res.StatusCode, len(got))
			}
		}
		w.event("echo", func(e audit.Event) bool { return e.BytesOut == int64(size) && e.BytesIn == int64(size) })
	}
}

// What a request without a body says of it, and that it names no program where the bottle's named
// none.
func TestTheHeadSaysWhatItShould(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	heads := make(chan string, 1)
	w.server(false, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			var head strings.Builder
			for !strings.HasSuffix(head.String(), "\r\n\r\n") {
				b, err := r.ReadByte()
				if err != nil {
					return
				}
				head.WriteByte(b)
			}
			heads <- head.String()
			_, _ = io.WriteString(c, okAnswer)
		}
	})
	for ask, want := range map[string]string{
		"GET /? HTTP/1.1\r\nHost: ok.test\r\n\r\n":                             "GET /? HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"GET /a%2fb HTTP/1.1\r\nUser-Agent: x/1\r\nHost: ok.test\r\n\r\n":      "GET /a%2fb HTTP/1.1\r\nHost: ok.test\r\nUser-Agent: x/1\r\n\r\n",
		"POST /api HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 0\r\n\r\n":     "POST /api HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 0\r\n\r\n",
		"POST /api HTTP/1.1\r\nContent-Type: text/x\r\nHost: ok.test\r\n\r\n":  "POST /api HTTP/1.1\r\nHost: ok.test\r\nContent-Type: text/x\r\nContent-Length: 0\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: ok.test\r\nConnection: keep-alive\r\n\r\n":   "HEAD / HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: ok.test\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n": "GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n",
	} {
		_, c := w.connectTo("ok.test:80")
		_, _ = io.WriteString(c, ask)
		if head := readHead(t, c); !strings.HasPrefix(head, "HTTP/1.1 200") {
			t.Errorf("%q: %q", ask, head)
			continue
		}
		if got := <-heads; got != want {
			t.Errorf("%q\n got %q\nwant %q", ask, got, want)
		}
	}
}

func TestAnAnswerBeforeTheBodyWasReadIsHeard(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		w := newWorld(t, standard(t))
		w.server(secure, func(n int, c net.Conn, r *bufio.Reader) {
			defer c.Close()
			if n > 1 {
				answerOne(c, r, okAnswer)
				return
			}
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			_, _ = io.Copy(io.Discard, r)
		})
		c := w.client()
		c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
		for i, want := range []int{413, 200} {
			if res, body := post(t, c, scheme(secure)+"://ok.test/api", "text/plain", strings.Repeat("question ", 7000), nil); res.StatusCode != want {
				t.Errorf("TLS %v, request %d: %d %q", secure, i, res.StatusCode, body)
			}
		}
	}
}

// Records that came together go on together, and none waits for one that has not come.
func TestWhatCameGoesOnBeforeMoreIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		w := newWorld(t, standard(t))
		first, second := strings.Repeat("a", 300_000), strings.Repeat("b", 300_000)
		next := make(chan struct{})
		w.server(true, func(_ int, c net.Conn, r *bufio.Reader) {
			if !answerOne(c, r, "HTTP/1.1 200 OK\r\nContent-Type: application/x-bytes\r\nTransfer-Encoding: chunked\r\n\r\n") {
				return
			}
			// Together with the first chunk comes most of the line before the second, in records that
			// hold nothing for the bottle.
			below := c.(*tls.Conn).NetConn().(*corked)
			below.hold = true
			for _, part := range []string{fmt.Sprintf("%x\r\n", len(first)), first, "\r\n", fmt.Sprintf("%x", len(second))} {
				_, _ = io.WriteString(c, part)
			}
			for range 150 {
				_, _ = io.WriteString(c, " ")
			}
			below.hold = false
			_, _ = below.Write(nil)
			<-next
			_, _ = io.WriteString(c, "\r\n"+second+"\r\n0\r\n\r\n")
		})
		c := w.client()
		c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
		body := io.Reader(nil)
		if method == "POST" {
			body = strings.NewReader("a question")
		}
		req, _ := http.NewRequest(method, "https://ok.test/api", body)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(first))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != first {
			t.Fatalf("%s: %v", method, err)
		}
		close(next) // only now does the upstream send the rest
		rest, err := io.ReadAll(res.Body)
		if err != nil || string(rest) != second {
			t.Errorf("%s: %d bytes, %v", method, len(rest), err)
		}
		_ = res.Body.Close()
	}
}
