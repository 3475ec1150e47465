package egress

import (
	"crypto/sha1" //nolint:gosec // RFC 6455's choice; it proves that the upstream read the request, no more
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/egress/ws"
	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// handshakeID is what a server puts behind a client's key: RFC 6455 section 1.3.
const handshakeID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// webSocket finishes a handshake that the upstream agreed to, and relays messages until the
// WebSocket ends.
func (x *exchange) webSocket(out *http.Request, res *http.Response) {
	up, ok := res.Body.(io.ReadWriteCloser)
	deflate, err := checkHandshake(out.Header, res)
	switch {
	case !ok:
		err = errors.New("its connection can't be taken over")
		fallthrough
	case err != nil:
		_ = res.Body.Close() // it is not wanted
		x.fail(err)
		return
	}
	c, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		_ = up.Close() // there is nobody to relay to
		x.fail(err)
		return
	}
	below, front := takeOver(c, buffered)
	client := &countedConn{Conn: below, x: x, front: front}
	_ = client.SetDeadline(time.Time{}) // a dead socket fails the write below
	head := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	x.copyHeader(head, res.Header)
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = head.Write(&b) // a Builder takes everything
	b.WriteString("\r\n")
	if _, err := io.WriteString(below, b.String()); err != nil {
		_ = client.Close() // the bottle left
		_ = up.Close()
		return
	}
	look, done := x.messages(deflate == nil)
	err = ws.Relay{Deflate: deflate, Inspect: look}.Run(x.f.s.ctx, client, up)
	done()
	if fault, ok := errors.AsType[*ws.Fault](err); ok {
		x.verdict = policy.Verdict{Rule: x.verdict.Rule, Why: "the WebSocket was ended: " + inert.Text(fault.Why, 160)}
	}
}

// checkHandshake checks that the upstream agreed to a WebSocket and to nothing else.
func checkHandshake(asked http.Header, res *http.Response) (*ws.Deflate, error) {
	sum := sha1.Sum([]byte(asked.Get("Sec-Websocket-Key") + handshakeID)) //nolint:gosec // as above
	switch {
	case !hasToken(res.Header["Upgrade"], "websocket") || !hasToken(res.Header["Connection"], "upgrade"),
		res.Header.Get("Sec-Websocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return nil, errors.New("it did not answer as a WebSocket's server does")
	}
	return ws.Agreed(asked["Sec-Websocket-Extensions"] != nil, res.Header)
}
