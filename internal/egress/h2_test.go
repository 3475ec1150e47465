package egress_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// h2 is a raw HTTP/2 connection to ok.test, below net/http.
type h2 struct{ *tls.Conn }

// Frame types: RFC 9113 section 6.
const (
	h2Data     = 0
	h2Headers  = 1
	h2Reset    = 3
	h2Settings = 4
	h2GoAway   = 7
)

func (w *world) h2() h2 {
	w.t.Helper()
	_, c := w.connectTo("ok.test:443")
	tc := tls.Client(c, &tls.Config{ServerName: "ok.test", RootCAs: pool(w.ca), NextProtos: []string{"h2"}})
	if _, err := io.WriteString(tc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		w.t.Fatal(err)
	}
	h := h2{tc}
	h.frame(h2Settings, 0, 0, nil)
	return h
}

func (h h2) frame(kind, flags, stream byte, payload []byte) {
	n := len(payload)
	_, _ = h.Write(append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, 0, 0, 0, stream}, payload...))
}

// ask sends one stream's header, name and value in turn, and returns the status and the body it
// got; none when the stream or the connection was ended instead.
func (h h2) ask(fields ...string) (status, body string) {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	h.frame(h2Headers, 0x4|0x1, 1, b.Bytes())
	d := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			status = f.Value
		}
	})
	for {
		var head [9]byte
		if _, err := io.ReadFull(h, head[:]); err != nil {
			return status, body
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(h, payload); err != nil {
			return status, body
		}
		switch head[3] {
		case h2Headers:
			_, _ = d.Write(payload)
		case h2Data:
			body += string(payload)
		case h2Reset, h2GoAway:
			return status, body
		}
		if head[3] <= h2Headers && head[4]&0x1 != 0 {
			return status, body
		}
	}
}

func TestA10B08B11HTTP2IsReadInOneWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	get := []string{":method", "GET", ":scheme", "https", ":authority", "ok.test", ":path", "/"}
	with := func(more ...string) []string { return append(get[:len(get):len(get)], more...) }
	for name, fields := range map[string][]string{
		"upper-case name":           with("X-Upper", "a"),
		"Connection":                with("connection", "close"),
		"Keep-Alive":                with("keep-alive", "1"),
		"Transfer-Encoding":         with("transfer-encoding", "chunked"),
		"Upgrade":                   with("upgrade", "h2c"),
		"TE":                        with("te", "gzip"),
		"two lengths":               with("content-length", "1", "content-length", "2"),
		"line feed in a value":      with("x", "a\nb: c"),
		"space in a name":           with("x y", "a"),
		"Host for somebody else":    with("host", "c2.test"),
		"pseudo-header late":        {":method", "GET", ":scheme", "https", "x", "y", ":authority", "ok.test", ":path", "/"},
		"two paths":                 with(":path", "/b"),
		"two authorities":           with(":authority", "c2.test"),
		"unknown pseudo-header":     with(":host", "ok.test"),
		"no path":                   {":method", "GET", ":scheme", "https", ":authority", "ok.test"},
		"no method":                 {":scheme", "https", ":authority", "ok.test", ":path", "/"},
		"other authority":           {":method", "GET", ":scheme", "https", ":authority", "c2.test", ":path", "/"},
		"user in the authority":     {":method", "GET", ":scheme", "https", ":authority", "ok.test@c2.test", ":path", "/"},
		"no authority":              {":method", "GET", ":scheme", "https", ":path", "/", "host", "c2.test"},
		"absolute path":             {":method", "GET", ":scheme", "https", ":authority", "ok.test", ":path", "https://c2.test/"},
		"space in the path":         {":method", "DELETE", ":scheme", "https", ":authority", "ok.test", ":path", "/ HTTP/1.1"},
		"lower-case method":         {":method", "get", ":scheme", "https", ":authority", "ok.test", ":path", "/"},
		"method with a line":        {":method", "GET / HTTP/1.1\r\n", ":scheme", "https", ":authority", "ok.test", ":path", "/"},
		"CONNECT":                   {":method", "CONNECT", ":authority", "ok.test:443"},
		"extended CONNECT (MASQUE)": {":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "https", ":authority", "ok.test", ":path", "/.well-known/masque/udp/1.1.1.1/443/"},
		"WebSocket over HTTP/2":     {":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "ok.test", ":path", "/ws"},
	} {
		if status, body := w.h2().ask(fields...); strings.HasPrefix(status, "2") || strings.HasPrefix(status, "5") {
			t.Errorf("%s: %s %q", name, status, body)
		}
	}
	w.untouched()
	if status, body := w.h2().ask(with("te", "trailers", "x", "y")...); status != "200" || !strings.HasPrefix(body, "GET ok.test / HTTP/2.0") {
		t.Errorf("benign: %s %q", status, body)
	}
}

func TestB09EveryStreamOfOneConnectionIsJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c := w.client()
	reused := 0
	ask := func(method, path string) (*http.Response, string) {
		req, _ := http.NewRequest(method, "https://ok.test"+path, nil)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if i.Reused {
				reused++
			}
		}}))
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res, string(body)
	}
	for range 3 {
		if res, body := ask("GET", "/fine"); res.StatusCode != 200 || res.ProtoMajor != 2 {
			t.Errorf("benign: %v %q", res, body)
		}
		res, body := ask("DELETE", "/fine")
		refused(t, res, body, "DELETE /fine matches none")
		res, body = ask("POST", "/else")
		refused(t, res, body, "POST /else matches none")
	}
	if reused != 8 {
		t.Errorf("%d of 9 requests were on the first one's connection", reused)
	}
	if strings.Contains(w.ok.text(), "DELETE") || strings.Contains(w.ok.text(), "POST") {
		t.Errorf("the upstream saw\n%s", w.ok.text())
	}
}

func TestB01OffersOfQUICAreTakenOutWhereverTheyStand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	h1 := w.client()
	h1.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	for name, c := range map[string]*http.Client{"h1": h1, "h2": w.client()} {
		var hints []string
		req, _ := http.NewRequest("GET", "https://ok.test/quic", nil)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints = append(hints, http.Header(h).Get("Link")+http.Header(h).Get("Alt-Svc"))
			return nil
		}}))
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || string(body) != "body" || res.Header.Get("Alt-Svc") != "" || res.Trailer.Get("Alt-Svc") != "" || res.Trailer.Get("X-Sum") != "1" {
			t.Errorf("%s: %q %v %v %v", name, body, res.Header, res.Trailer, err)
		}
		if len(hints) != 1 || hints[0] != "</a.css>" {
			t.Errorf("%s: hints %q", name, hints)
		}
	}
}

func TestAFloodOfInformationalAnswersIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, url := range []string{"http://ok.test/flood", "https://ok.test/flood"} {
		res, body := get(t, w.client(), url)
		if res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "informational answers") {
			t.Errorf("%s: %d %q", url, res.StatusCode, body)
		}
	}
}
