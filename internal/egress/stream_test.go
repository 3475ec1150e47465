package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

func TestServerSentEventsArriveAsTheyAreSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, url := range []string{"https://ok.test/events", "http://ok.test/events"} {
		req, _ := http.NewRequest("GET", url, nil)
		req.Header.Set("X-Go", "events")
		res, err := w.client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(res.Body)
		if line, err := r.ReadString('\n'); err != nil || line != "data: 1\n" {
			t.Fatalf("%q %v", line, err)
		}
		gate("events") <- struct{}{} // only now does the upstream send the second
		rest, err := io.ReadAll(r)
		if err != nil || !strings.Contains(string(rest), "data: 2") {
			t.Errorf("%q %v", rest, err)
		}
		_ = res.Body.Close()
	}
}

func TestBothDirectionsStreamAtOnceWithTrailers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	h1 := w.client()
	h1.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	for name, c := range map[string]*http.Client{"h2": w.client(), "h1": h1} {
		pr, pw := io.Pipe()
		req, _ := http.NewRequest("POST", "https://ok.test/api/echo", pr)
		req.Header.Set("Te", "trailers")
		res, err := c.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		buf := make([]byte, 8)
		for _, msg := range []string{"one", "two", "three"} {
			if _, err := io.WriteString(pw, msg); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, buf[:len(msg)]); err != nil || string(buf[:len(msg)]) != msg {
				t.Fatalf("%s: %q %v", name, buf, err)
			}
		}
		_ = pw.Close()
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = res.Body.Close()
		if got := res.Trailer.Get("Grpc-Status"); got != "0" {
			t.Errorf("%s: trailer %q in %v", name, got, res.Trailer)
		}
	}
	e := w.event("echo", func(e audit.Event) bool { return e.Path == "/api/echo" && e.BytesOut == 11 })
	if e.BytesIn != 11 || e.Status != 200 {
		t.Errorf("%+v", e)
	}
}

func TestWebSocketsPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, url := range []string{"ws://ok.test/ws", "wss://ok.test/ws"} {
		hc := w.client()
		hc.Transport.(*http.Transport).ForceAttemptHTTP2 = false
		hc.Timeout = 0
		c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: hc})
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		for _, msg := range [][]byte{[]byte("hello"), bytes.Repeat([]byte("x"), 20000)} {
			if err := c.Write(ctx, websocket.MessageBinary, msg); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, msg) {
				t.Fatalf("%s: %d bytes, %v", url, len(got), err)
			}
		}
		_ = c.Close(websocket.StatusNormalClosure, "")
	}
	e := w.event("websocket", func(e audit.Event) bool { return e.Path == "/ws" && e.Status == 101 })
	if e.BytesOut < 20005 || e.BytesIn < 20005 {
		t.Errorf("%+v", e)
	}
}

func TestExpect100ContinueAsksBeforeTheBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c := w.raw(w.proxy)
	_, _ = io.WriteString(c, "POST http://ok.test/api HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if head := readHead(t, c); !strings.HasPrefix(head, "HTTP/1.1 100") {
		t.Fatalf("%q", head)
	}
	_, _ = io.WriteString(c, "abcd")
	if head := readHead(t, c); !strings.HasPrefix(head, "HTTP/1.1 200") {
		t.Errorf("%q", head)
	}
	d := w.raw(w.proxy)
	_, _ = io.WriteString(d, "POST http://c2.test/api HTTP/1.1\r\nHost: c2.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if head := readHead(t, d); !strings.HasPrefix(head, "HTTP/1.1 403") {
		t.Errorf("a denied body was asked for: %q", head)
	}
}

func TestLargeBodiesPassBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	const size = 5 << 20
	res, err := w.client().Post("https://ok.test/api/x", "application/octet-stream", bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if !strings.HasSuffix(string(body), " 5242880") {
		t.Errorf("%q", body)
	}
}

func TestServeEndsWithEverythingOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	_ = w.raw(w.proxy)
	_, _ = w.connectTo("ok.test:443")
	req, _ := http.NewRequest("GET", "https://ok.test/events", nil)
	req.Header.Set("X-Go", "never")
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	h1 := w.client()
	h1.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	for range 8 { // programs that ask for much and read none of it
		res, err := h1.Get("https://ok.test/zeros?size=50000000")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	w.end()
}
