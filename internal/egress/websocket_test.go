package egress_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

const handshake = "GET @/ws HTTP/1.1\r\nHost: ok.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

func TestB10FramesThatBreakTheProtocolEndAWebSocketOnEveryWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for name, way := range w.ways() {
		c := way.open()
		_, _ = io.WriteString(c, strings.ReplaceAll(handshake, "@", way.prefix)+"Sec-WebSocket-Extensions: x-private, permessage-deflate; client_max_window_bits\r\n\r\n")
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-Websocket-Accept") == "" {
			t.Fatalf("%s: %v %v", name, res, err)
		}
		_, _ = io.WriteString(c, "\x81\x82\x00\x00\x00\x00hi") // benign, and echoed
		echo := make([]byte, 4)
		if _, err := io.ReadFull(r, echo); err != nil || string(echo) != "\x81\x02hi" {
			t.Errorf("%s: %q %v", name, echo, err)
		}
		_, _ = io.WriteString(c, "\x81\x02hi") // not masked
		rest, _ := io.ReadAll(io.LimitReader(r, 4))
		if !strings.HasPrefix(string(rest), "\x88") || string(rest[2:4]) != "\x03\xea" {
			t.Errorf("%s: %q", name, rest)
		}
		_ = c.Close()
		w.event("ended", func(e audit.Event) bool {
			return e.Verdict == "deny" && e.Path == "/ws" && e.Status == 101 && strings.Contains(e.Why, "not masked")
		})
	}
	if seen := w.plain.text(); strings.Contains(seen, "x-private") || !strings.Contains(seen, "Sec-Websocket-Extensions: permessage-deflate") {
		t.Errorf("the upstream was offered\n%s", seen)
	}
}

func TestAWebSocketNeedsTheServersProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c := w.ways()["proxy"].open()
	res, body, err := ask1(t, c, bufio.NewReader(c), strings.ReplaceAll(strings.ReplaceAll(handshake, "@", "http://ok.test"), "/ws", "/fake101")+"\r\n")
	if err != nil || res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "as a WebSocket's server does") {
		t.Errorf("%v %q %v", res, body, err)
	}
	// Nor does an upstream leave HTTP on its own account.
	res, body = get(t, w.client(), "http://ok.test/fake101")
	if res.StatusCode != http.StatusBadGateway {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	// One that declines answers as it likes.
	c = w.ways()["proxy"].open()
	res, body, err = ask1(t, c, bufio.NewReader(c), strings.ReplaceAll(strings.ReplaceAll(handshake, "@", "http://ok.test"), "/ws", "/plain")+"\r\n")
	if err != nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(body, "GET ok.test /plain") {
		t.Errorf("declined: %v %q %v", res, body, err)
	}
}
