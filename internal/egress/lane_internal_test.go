package egress

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// A request of which nothing could be written was not seen by anybody, and goes out on another
// connection, whatever it does.
func TestARequestThatWasNotWrittenIsWrittenElsewhere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var conns, seen atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					req, err := http.ReadRequest(r)
					if err != nil {
						<-t.Context().Done() // an end of its own would be seen
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					seen.Add(1)
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}()
		}
	}()
	e := testEngine(t)
	e.cfg.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
	}
	e.cfg.Dial = func(ctx context.Context, network string, _ netip.AddrPort) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, l.Addr().String())
	}
	var road *road
	for _, road = range e.roads {
		break
	}
	lane := road.lane("http", "ok.test")
	defer lane.close()
	for i, method := range []string{"GET", "POST", "GET", "POST"} {
		if i > 0 {
			// The next write fails, which the reading half does not show.
			if err := lane.parked[0].sock.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		out := &http.Request{Method: method, URL: &url.URL{Scheme: "http", Host: "ok.test", Path: "/"}, Header: http.Header{}}
		if method == "POST" {
			out.Body, out.ContentLength = io.NopCloser(strings.NewReader("body")), 4
		}
		res, _, err := lane.roundTrip(t.Context(), out, nil)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "ok" {
			t.Errorf("%s: %q %v", method, body, err)
		}
	}
	if c, s := conns.Load(), seen.Load(); c != 4 || s != 4 {
		t.Errorf("%d connections, %d requests", c, s)
	}
}
