package egress_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// way is one of the bottle's ways to ok.test, open for HTTP/1.
type way struct {
	open   func() net.Conn
	prefix string // of a target
}

// ways are all of them, in the clear and in TLS.
func (w *world) ways() map[string]way {
	socks := func(port string) net.Conn {
		c := w.raw(w.proxy)
		_, _ = io.WriteString(c, "\x05\x01\x00\x05\x01\x00\x03\x07ok.test"+port)
		if _, err := io.ReadFull(c, make([]byte, 12)); err != nil {
			w.t.Fatal(err)
		}
		return c
	}
	connect := func(target string) net.Conn { _, c := w.connectTo(target); return c }
	caught := func(port uint16) net.Conn {
		c, err := w.any.dial(w.lookup("ok.test", port))
		if err != nil {
			w.t.Fatal(err)
		}
		return c
	}
	inTLS := func(c net.Conn) net.Conn {
		return tls.Client(c, &tls.Config{ServerName: "ok.test", RootCAs: pool(w.ca), NextProtos: []string{"http/1.1"}})
	}
	return map[string]way{
		"proxy":            {func() net.Conn { return w.raw(w.proxy) }, "http://ok.test"},
		"CONNECT":          {func() net.Conn { return connect("ok.test:80") }, ""},
		"SOCKS":            {func() net.Conn { return socks("\x00\x50") }, ""},
		"transparent":      {func() net.Conn { return caught(80) }, ""},
		"CONNECT, TLS":     {func() net.Conn { return inTLS(connect("ok.test:443")) }, ""},
		"SOCKS, TLS":       {func() net.Conn { return inTLS(socks("\x01\xbb")) }, ""},
		"transparent, TLS": {func() net.Conn { return inTLS(caught(443)) }, ""},
	}
}

func TestB07B08WhatHasTwoReadingsIsRefusedInWordsOnEveryWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	const chunked = "POST @/api HTTP/1.1\r\nHost: ok.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	attacks := map[string]string{
		"CL.TE":                 "POST @/api HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
		"TE.CL":                 "POST @/api HTTP/1.1\r\nHost: ok.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
		"two lengths":           "POST @/api HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
		"xchunked":              "POST @/api HTTP/1.1\r\nHost: ok.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"folded":                "GET @/ HTTP/1.1\r\nHost: ok.test\r\nX: a\r\n b\r\n\r\n",
		"bare LF":               "GET @/ HTTP/1.1\r\nHost: ok.test\nX: a\r\n\r\n",
		"bare CR":               "GET @/ HTTP/1.1\r\nHost: ok.test\r\nX: a\rY: b\r\n\r\n",
		"NUL":                   "GET @/ HTTP/1.1\r\nHost: ok.test\r\nX: a\x00\r\n\r\n",
		"two hosts":             "GET @/ HTTP/1.1\r\nHost: ok.test\r\nHost: c2.test\r\n\r\n",
		"HTTP/0.9":              "GET @/\r\n",
		"1.0 with TE":           "POST @/api HTTP/1.0\r\nHost: ok.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunk extension":       chunked + "5;x=\"\n\"\r\nabcde\r\n0\r\n\r\n",
		"0x":                    chunked + "0x5\r\nabcde\r\n0\r\n\r\n",
		"overflow":              chunked + "ffffffffffffffff0\r\nabcde\r\n0\r\n\r\n",
		"chunk too long":        chunked + "5\r\nabcdefg\r\n0\r\n\r\n",
		"routing in a trailer":  chunked + "5\r\nabcde\r\n0\r\nHost: c2.test\r\n\r\n",
		"identity in a trailer": chunked + "0\r\nAuthorization: x\r\n\r\n",
		"h2c, prior knowledge":  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"another host":          "GET http://c2.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n",
	}
	for name, way := range w.ways() {
		for attack, request := range attacks {
			c := way.open()
			res, body, err := ask1(t, c, bufio.NewReader(c), strings.ReplaceAll(request, "@", way.prefix))
			switch {
			case err != nil:
				t.Errorf("%s, %s: %v", name, attack, err)
			case res.StatusCode != 400 && res.StatusCode != 431 && res.StatusCode != 505 || !res.Close,
				res.Header.Get("X-Claude-Bottle") != "denied", !strings.Contains(body, "the request is malformed: "):
				t.Errorf("%s, %s: %d %v %q", name, attack, res.StatusCode, res.Header, body)
			}
			_ = c.Close()
		}
	}
	w.event("malformed", func(e audit.Event) bool {
		return e.Verdict == "deny" && e.Via == audit.ViaTransparent && e.Host == "ok.test" && e.Status == 400 && strings.Contains(e.Why, "malformed")
	})
	w.untouched()
	for name, way := range w.ways() {
		c := way.open()
		r := bufio.NewReader(c)
		for _, request := range []string{
			"POST @/api HTTP/1.1\r\nHost: ok.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nX-Sum: 1\r\n\r\n",
			"POST @/api HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 4\r\n\r\nabcd",
			"GET @/ HTTP/1.1\r\nhost: ok.test\r\nX: a\tb\r\n\r\n",
		} {
			if res, body, err := ask1(t, c, r, strings.ReplaceAll(request, "@", way.prefix)); err != nil || res.StatusCode != 200 {
				t.Errorf("%s, benign %q: %v %q %v", name, request, res, body, err)
			}
		}
	}
}

// tape is an upstream that answers nothing and keeps every byte, and how its connections ended.
type tape struct {
	addr  string
	began chan struct{} // the first byte of a connection came
	got   chan string
}

func newTape(t testing.TB) *tape {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &tape{l.Addr().String(), make(chan struct{}, 64), make(chan string, 64)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				first := make([]byte, 4096)
				n, _ := c.Read(first)
				p.began <- struct{}{}
				all, _ := io.ReadAll(c)
				p.got <- string(first[:n]) + string(all)
			}()
		}
	}()
	return p
}

func TestB08ABodyThatTurnsOutMalformedIsNeverComplete(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"proxy", "CONNECT", "SOCKS", "transparent"} {
		for why, rest := range map[string]string{
			"a chunk is longer":     "5\r\nabcdefg\r\n0\r\n\r\n",
			"trailer is too long":   "0\r\n" + strings.Repeat("X: y\r\n", 500) + "\r\n",
			"belongs in the header": "0\r\nTransfer-Encoding: chunked\r\n\r\n",
		} {
			w := newWorld(t, standard(t))
			up := newTape(t)
			w.mu.Lock()
			for at := range w.ports {
				w.ports[at] = up.addr
			}
			w.mu.Unlock()
			way := w.ways()[name]
			c := way.open()
			_, _ = io.WriteString(c, "POST "+way.prefix+"/api HTTP/1.1\r\nHost: ok.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
			<-up.began
			res, body, err := ask1(t, c, bufio.NewReader(c), rest)
			if err != nil || res.StatusCode/100 != 4 || res.Header.Get("X-Claude-Bottle") != "denied" || !strings.Contains(body, why) {
				t.Errorf("%s: %v %q %v", name, res, body, err)
			}
			got := <-up.got
			if strings.Contains(got, "\r\n0\r\n") || strings.Contains(got, "fg") {
				t.Errorf("%s: the upstream read %q", name, got)
			}
			w.event("denied", func(e audit.Event) bool { return e.Verdict == "deny" && e.Status/100 == 4 && e.Method == "POST" })
		}
	}
}

func TestRequestsThatServersReadInTwoWaysAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for why, request := range map[string]string{
		"not written in capitals": "get @/ HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		`takes back "X-Team"`:     "GET @/ HTTP/1.1\r\nHost: ok.test\r\nX-Team: a\r\nConnection: close, x-team\r\n\r\n",
	} {
		for name, way := range w.ways() {
			c := way.open()
			res, body, err := ask1(t, c, bufio.NewReader(c), strings.ReplaceAll(request, "@", way.prefix))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			refused(t, res, body, why)
		}
	}
	w.untouched()
	c := w.ways()["proxy"].open()
	res, body, err := ask1(t, c, bufio.NewReader(c), "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nX-Team: a\r\nTE: trailers\r\nConnection: keep-alive, TE, X-Absent\r\n\r\n")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("benign: %v %q %v", res, body, err)
	}
}
