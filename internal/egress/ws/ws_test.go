package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/claude-bottle/claude-bottle/internal/egress/ws"
)

// relay is a WebSocket through a Relay: a client of coder/websocket on one side, a server of it,
// which echoes, on the other.
type relay struct {
	url   string
	mu    sync.Mutex
	ended chan error
	// seen is what Inspect was shown of each direction's messages, joined.
	seen [2]strings.Builder
}

func (r *relay) saw(dir ws.Direction) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[dir].String()
}

// newRelay refuses what holds "SECRET".
func newRelay(t *testing.T, mode websocket.CompressionMode) *relay {
	t.Helper()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c, err := websocket.Accept(w, q, &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			return
		}
		c.SetReadLimit(-1)
		defer func() { _ = c.CloseNow() }()
		for {
			kind, msg, err := c.Read(q.Context())
			if err != nil || c.Write(q.Context(), kind, msg) != nil {
				return
			}
		}
	}))
	t.Cleanup(echo.Close)
	r := &relay{ended: make(chan error, 1)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.ended <- r.serve(w, q, echo.URL) }))
	t.Cleanup(front.Close)
	r.url = "ws" + strings.TrimPrefix(front.URL, "http")
	return r
}

func (r *relay) serve(w http.ResponseWriter, q *http.Request, to string) error {
	up, err := http.NewRequest(http.MethodGet, to, nil)
	if err != nil {
		return err
	}
	up.Header = q.Header.Clone()
	offered := ws.Offer(up.Header)
	res, err := http.DefaultTransport.RoundTrip(up)
	if err != nil {
		return err
	}
	d, err := ws.Agreed(offered, res.Header)
	if err != nil {
		return err
	}
	for k, v := range res.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(res.StatusCode)
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	tail := ""
	return ws.Relay{Deflate: d, Inspect: func(dir ws.Direction, op ws.Opcode, part []byte, last bool) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen[dir].Write(part)
		if dir == ws.Out && strings.Contains(tail+string(part), "SECRET") {
			return errors.New("this must not leave")
		}
		if tail = ""; !last {
			tail = string(part[max(0, len(part)-8):])
		}
		return nil
	}}.Run(q.Context(), early{c, buffered}, res.Body.(io.ReadWriteCloser))
}

// early is a connection of which something was read before it was taken over.
type early struct {
	net.Conn
	r io.Reader
}

func (e early) Read(p []byte) (int, error) { return e.r.Read(p) }

func (r *relay) dial(t *testing.T, mode websocket.CompressionMode) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, r.url, &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

var modes = map[string]websocket.CompressionMode{
	"plain": websocket.CompressionDisabled, "each alone": websocket.CompressionNoContextTakeover, "taken over": websocket.CompressionContextTakeover,
}

func TestMessagesPassAndAreSeenInflated(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelay(t, mode)
			c := r.dial(t, mode)
			noise := make([]byte, 300<<10)
			for i := range noise {
				noise[i] = byte(rand.Uint32())
			}
			var all strings.Builder
			for _, msg := range [][]byte{
				[]byte("hello"), nil, []byte("hello"), bytes.Repeat([]byte("it was a dark and stormy night; "), 20000), noise,
				[]byte("hello"), noise[:ws.Window], noise[:ws.Window+1], bytes.Repeat([]byte{0}, 3<<20),
			} {
				if err := c.Write(t.Context(), websocket.MessageBinary, msg); err != nil {
					t.Fatal(err)
				}
				if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, msg) {
					t.Fatalf("%d bytes of %d, %v", len(got), len(msg), err)
				}
				all.Write(msg)
			}
			go func() { _, _, _ = c.Read(t.Context()) }() // a pong is read by whoever reads
			if err := c.Ping(t.Context()); err != nil {
				t.Errorf("ping: %v", err)
			}
			if r.saw(ws.Out) != all.String()+r.saw(ws.Out)[all.Len():] || !strings.HasPrefix(r.saw(ws.In), all.String()) {
				t.Error("Inspect was not shown what was sent")
			}
			_ = c.Close(websocket.StatusNormalClosure, "bye")
			if err := <-r.ended; err != nil {
				t.Errorf("ended with %v", err)
			}
			if !strings.HasSuffix(r.saw(ws.Out), "bye") {
				t.Error("the close frame's reason was not shown")
			}
		})
	}
}

func TestB10ASecretIsSeenHoweverItIsCutUp(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		for _, pieces := range []int{1, 2, 7, 4096} {
			r := newRelay(t, mode)
			c := r.dial(t, mode)
			msg := []byte(strings.Repeat("x", 5000) + "SECRET" + strings.Repeat("y", 5000))
			w, err := c.Writer(t.Context(), websocket.MessageText)
			if err != nil {
				t.Fatal(err)
			}
			size := len(msg)/pieces + 1
			for len(msg) > 0 {
				n := min(size, len(msg))
				_, _ = w.Write(msg[:n])
				msg = msg[n:]
			}
			_ = w.Close()
			_, got, err := c.Read(t.Context())
			if closed, ok := errors.AsType[websocket.CloseError](err); !ok || closed.Code != websocket.StatusPolicyViolation || closed.Reason != "this must not leave" {
				t.Errorf("%s in %d: %q, %v", name, pieces, got, err)
			}
			if fault, ok := errors.AsType[*ws.Fault](<-r.ended); !ok || fault.Code != 1008 {
				t.Errorf("%s in %d: ended with %v", name, pieces, fault)
			}
			if strings.Contains(r.saw(ws.In), "SECRET") {
				t.Errorf("%s in %d: it came back", name, pieces)
			}
		}
	}
}

// frame writes one, masked with zeros when it is a client's.
func frame(first byte, masked bool, payload string) string {
	n := len(payload)
	b := []byte{first, byte(n)}
	if n > 125 {
		b = []byte{first, 126, byte(n >> 8), byte(n)}
	}
	if masked {
		b[1] |= 0x80
		b = append(b, 0, 0, 0, 0)
	}
	return string(b) + payload
}

// end is one side of a WebSocket, below the frames.
type end struct {
	net.Conn
	got chan string
}

func newEnd(t *testing.T) (end, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = a.SetDeadline(time.Now().Add(20 * time.Second))
	e := end{a, make(chan string, 1)}
	go func() {
		all, _ := io.ReadAll(a)
		e.got <- string(all)
		_ = a.Close()
	}()
	return e, b
}

// raw runs a Relay between two ends, sends each what it is given, and returns what they read.
func raw(t *testing.T, r ws.Relay, fromClient, fromServer string) (atClient, atServer string, err error) {
	t.Helper()
	client, c := newEnd(t)
	server, s := newEnd(t)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(t.Context(), c, s) }()
	_, _ = io.WriteString(client, fromClient)
	_, _ = io.WriteString(server, fromServer)
	leaving := client
	if fromClient == "" { // else it could end the relay before the server is heard
		leaving = server
	}
	_ = leaving.Conn.(*net.TCPConn).CloseWrite()
	err = <-ended
	return <-client.got, <-server.got, err
}

func TestFramesAreParsedStrictly(t *testing.T) {
	t.Parallel()
	deflate := &ws.Deflate{}
	for name, c := range map[string]struct {
		relay ws.Relay
		in    string
		code  int
	}{
		"unmasked":                  {in: frame(0x81, false, "hi"), code: 1002},
		"RSV1 not agreed on":        {in: frame(0xc1, true, "hi"), code: 1002},
		"RSV2":                      {relay: ws.Relay{Deflate: deflate}, in: frame(0xa1, true, "hi"), code: 1002},
		"RSV3":                      {in: frame(0x91, true, "hi"), code: 1002},
		"RSV1 on a control frame":   {relay: ws.Relay{Deflate: deflate}, in: frame(0xc9, true, "hi"), code: 1002},
		"RSV1 on a continuation":    {relay: ws.Relay{Deflate: deflate}, in: frame(0x01, true, "hi") + frame(0xc0, true, "hi"), code: 1002},
		"opcode 3":                  {in: frame(0x83, true, "hi"), code: 1002},
		"opcode 11":                 {in: frame(0x8b, true, "hi"), code: 1002},
		"fragmented ping":           {in: frame(0x09, true, "hi"), code: 1002},
		"long ping":                 {in: frame(0x89, true, strings.Repeat("x", 126)), code: 1002},
		"continuation of nothing":   {in: frame(0x80, true, "hi"), code: 1002},
		"message inside a message":  {in: frame(0x01, true, "hi") + frame(0x81, true, "hi"), code: 1002},
		"length in more bytes":      {in: "\x81\xfe\x00\x02\x00\x00\x00\x00hi", code: 1002},
		"length in many more bytes": {in: "\x81\xff\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00hi", code: 1002},
		"negative length":           {in: "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00hi", code: 1009},
		"huge":                      {in: "\x82\xff\x00\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00\x00hi", code: 1009},
		"close without a code":      {in: frame(0x88, true, "x"), code: 1002},
		"close 1005":                {in: frame(0x88, true, "\x03\xed"), code: 1002},
		"close 1006":                {in: frame(0x88, true, "\x03\xee"), code: 1002},
		"close 999":                 {in: frame(0x88, true, "\x03\xe7"), code: 1002},
		"close in no UTF-8":         {in: frame(0x88, true, "\x03\xe8\xff"), code: 1002},
		"corrupt":                   {relay: ws.Relay{Deflate: deflate}, in: frame(0xc1, true, "\xff\xff\xff\xff"), code: 1007},
		"cut off":                   {relay: ws.Relay{Deflate: deflate}, in: frame(0xc1, true, "\x00\x10\x00\xef\xffabc"), code: 1007},
		"more after the end":        {relay: ws.Relay{Deflate: deflate}, in: frame(0xc1, true, "\xf3\x48\xcd\xc9\xc9\x07\x00SECRET"), code: 1007},
		"blocks of nothing":         {relay: ws.Relay{Deflate: deflate}, in: strings.Repeat(frame(0x42, true, strings.Repeat("\x00\x00\x00\xff\xff", 10000)), 1) + strings.Repeat(frame(0x00, true, strings.Repeat("\x00\x00\x00\xff\xff", 10000)), 8), code: 1007},
	} {
		atClient, atServer, err := raw(t, c.relay, c.in, "")
		fault, ok := errors.AsType[*ws.Fault](err)
		if !ok || fault.Code != c.code {
			t.Errorf("%s: %v", name, err)
			continue
		}
		code := string([]byte{byte(c.code >> 8), byte(c.code)})
		if want := frame(0x88, false, code+fault.Why); atClient != want {
			t.Errorf("%s: the client read %q", name, atClient)
		}
		// The server is told the same, in a masked frame, and got nothing of it.
		if len(atServer) != len(atClient)+4 || atServer[0] != 0x88 {
			t.Errorf("%s: the server read %q", name, atServer)
		}
	}
	// A client that stays, so that nothing else ends it.
	client, c := newEnd(t)
	server, s := newEnd(t)
	ended := make(chan error, 1)
	go func() { ended <- ws.Relay{}.Run(t.Context(), c, s) }()
	_, _ = io.WriteString(server, frame(0x81, true, "hi"))
	if fault, ok := errors.AsType[*ws.Fault](<-ended); !ok || fault.Code != 1002 {
		t.Errorf("a server's masked frame: %v", fault)
	}
	<-client.got
	<-server.got
}

func TestFramesOfOneMessageAreJoined(t *testing.T) {
	t.Parallel()
	in := frame(0x01, false, "he") + frame(0x89, false, "ping") + frame(0x00, false, "") + frame(0x80, false, "llo") + frame(0x88, false, "\x03\xe8bye")
	atClient, _, err := raw(t, ws.Relay{}, frame(0x88, true, "\x03\xe8bye"), in)
	if want := frame(0x89, false, "ping") + frame(0x81, false, "hello") + frame(0x88, false, "\x03\xe8bye"); atClient != want || err != nil {
		t.Errorf("%q, %v", atClient, err)
	}
	// The final bit set by the sender, with its byte of padding: RFC 7692 section 7.2.3.4.
	seen := ""
	look := func(_ ws.Direction, _ ws.Opcode, part []byte, _ bool) error { seen += string(part); return nil }
	atClient, _, err = raw(t, ws.Relay{Deflate: &ws.Deflate{}, Inspect: look}, "", frame(0xc1, false, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"))
	if seen != "Hello" || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("%q, %q, %v", atClient, seen, err)
	}
}

func TestABombIsEndedAtTheBoundOfAMessage(t *testing.T) {
	t.Parallel()
	var seen int64
	look := func(_ ws.Direction, _ ws.Opcode, part []byte, _ bool) error { seen += int64(len(part)); return nil }
	_, _, err := raw(t, ws.Relay{Deflate: &ws.Deflate{}, Inspect: look}, bomb(t, ws.MaxMessage+ws.Window), "")
	if fault, ok := errors.AsType[*ws.Fault](err); !ok || fault.Code != 1009 || seen > ws.MaxMessage {
		t.Errorf("%v after %d bytes", err, seen)
	}
}

func TestExtensionsAreReducedToWhatIsUnderstood(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"permessage-deflate; client_max_window_bits":                                                       "permessage-deflate; client_max_window_bits",
		"x-webkit-deflate-frame":                                                                           "",
		"permessage-bzip2, permessage-deflate; server_no_context_takeover":                                 "permessage-deflate; server_no_context_takeover",
		"permessage-deflate; server_max_window_bits=10; client_max_window_bits=\"15\", permessage-deflate": "permessage-deflate; server_max_window_bits=10; client_max_window_bits=\"15\", permessage-deflate",
		"permessage-deflate; mystery":                                                                      "",
		"permessage-deflate; server_max_window_bits=99":                                                    "",
		"permessage-deflate; server_no_context_takeover=1":                                                 "",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":                       "",
		strings.Repeat("permessage-deflate, ", 20):                                                         strings.TrimSuffix(strings.Repeat("permessage-deflate, ", 8), ", "),
	} {
		h := http.Header{"Sec-Websocket-Extensions": {in}}
		if ok := ws.Offer(h); h.Get("Sec-Websocket-Extensions") != want || ok != (want != "") {
			t.Errorf("%q became %q, %v", in, h, ok)
		}
	}
	answer := func(s string) http.Header { return http.Header{"Sec-Websocket-Extensions": {s}} }
	if d, err := ws.Agreed(true, answer("permessage-deflate; client_no_context_takeover")); err != nil || *d != (ws.Deflate{ClientAlone: true}) {
		t.Errorf("%v, %v", d, err)
	}
	if d, err := ws.Agreed(true, http.Header{}); err != nil || d != nil {
		t.Errorf("%v, %v", d, err)
	}
	for _, s := range []string{"permessage-bzip2", "permessage-deflate, permessage-deflate", "permessage-deflate; mystery"} {
		if _, err := ws.Agreed(true, answer(s)); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
	if _, err := ws.Agreed(false, answer("permessage-deflate")); err == nil {
		t.Error("an extension nobody offered was taken")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, c := newEnd(t)
	_, s := newEnd(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (ws.Relay{}).Run(ctx, c, s); err == nil {
		t.Error("it ended well")
	}
}

// FuzzRelay sends arbitrary frames from a client. Whatever they are, the relay ends, and the
// server reads whole frames.
func FuzzRelay(f *testing.F) {
	f.Add([]byte(frame(0x81, true, "hi")+frame(0x01, true, "a")+frame(0x80, true, "b")+frame(0x88, true, "\x03\xe8")), false)
	f.Add([]byte(frame(0x82, true, strings.Repeat("x", 3000))+frame(0x82, true, strings.Repeat("x", 3000))), false)
	f.Add([]byte(frame(0xc1, true, "\xf2\x48\xcd\xc9\xc9\x07\x00")), true)
	f.Fuzz(func(t *testing.T, in []byte, deflate bool) {
		var r ws.Relay
		if deflate {
			r.Deflate = &ws.Deflate{}
		}
		client, c := net.Pipe()
		server, s := net.Pipe()
		got := make(chan error, 1)
		// The server hangs up on a close frame, and else when the relay has: nothing cuts a frame in two
		// but the relay itself.
		go func() { got <- wholeFrames(bufio.NewReader(server)); _ = server.Close() }()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		go func() { _, _ = client.Write(in); _ = client.Close() }()
		_ = r.Run(t.Context(), c, s)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	})
}

// wholeFrames reads a client's frames up to a close frame or the end.
func wholeFrames(r *bufio.Reader) error {
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("a frame's first bytes: %w", err)
		}
		size := int64(head[1] & 0x7f)
		switch size {
		case 126:
			var long [2]byte
			if _, err := io.ReadFull(r, long[:]); err != nil {
				return fmt.Errorf("a frame's length: %w", err)
			}
			size = int64(binary.BigEndian.Uint16(long[:]))
		case 127:
			return errors.New("a frame is longer than a window")
		}
		if head[1]&0x80 == 0 {
			return errors.New("a frame is not masked")
		}
		if _, err := io.CopyN(io.Discard, r, 4+size); err != nil {
			return fmt.Errorf("a frame of %d bytes: %w", size, err)
		}
		if head[0]&0x0f == 8 {
			return nil
		}
	}
}
