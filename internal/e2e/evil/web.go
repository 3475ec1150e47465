//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// proxyAddr is the bottle's proxy; a relay of the attacker's own can stand before it.
var proxyAddr = "127.0.0.1:3128"

// patience bounds whatever is waited for, where nothing else is said. Nothing that is answered takes a
// tenth of it.
const patience = 20 * time.Second

// answer is what an HTTP request came back with.
type answer struct {
	Status int    `json:"status"`
	Reason string `json:"reason"` // of the status line
	Proto  string `json:"proto"`
	Marker string `json:"marker"` // the engine's header
	Header string `json:"header"`
	Body   string `json:"body"`
	URL    string `json:"url"` // of the last hop
	Error  string `json:"error"`
	Millis int64  `json:"ms"`
	// Connect is the status of the CONNECT, where there was one that was refused, and Socks the
	// code of a SOCKS5 reply, -1 where there was none.
	Connect int `json:"connect"`
	Socks   int `json:"socks"`
}

// headers is a repeatable flag.
type headers []string

func (h *headers) String() string     { return strings.Join(*h, ",") }
func (h *headers) Set(v string) error { *h = append(*h, v); return nil }

// client is how a request is made.
type client struct {
	via     string // proxy, connect, socks, direct
	dial    string // with direct: the address to connect to instead of the URL's host
	target  string // with connect and socks: what to ask the proxy for instead of the URL's host
	sni     string
	http2   bool
	unsafe  bool
	timeout time.Duration
	answer  *answer
}

// request makes one HTTP request, by any of the bottle's ways out.
func request(args []string) (any, error) {
	a := answer{Socks: -1}
	c := client{answer: &a}
	var hs headers
	f := flag.NewFlagSet("http", flag.ContinueOnError)
	f.StringVar(&c.via, "via", "direct", "proxy, connect, socks or direct")
	f.StringVar(&proxyAddr, "proxy", proxyAddr, "")
	f.StringVar(&c.dial, "dial", "", "address to connect to instead of the URL's")
	f.StringVar(&c.target, "target", "", "host:port to ask the proxy for instead of the URL's")
	f.StringVar(&c.sni, "sni", "", "name in the ClientHello")
	f.BoolVar(&c.http2, "h2", false, "speak HTTP/2")
	f.BoolVar(&c.unsafe, "k", false, "believe any certificate")
	f.DurationVar(&c.timeout, "timeout", patience, "")
	host := f.String("host", "", "Host header")
	method := f.String("X", "GET", "method")
	data := f.String("d", "", "body")
	follow := f.Bool("L", false, "follow redirects")
	f.Var(&hs, "H", "name: value")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	r, err := http.NewRequest(*method, f.Arg(0), strings.NewReader(*data))
	if err != nil {
		return nil, err
	}
	r.Host = *host
	for _, h := range hs {
		name, value, _ := strings.Cut(h, ":")
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	hc := &http.Client{Transport: c.transport(), Timeout: c.timeout}
	if !*follow {
		hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	began := time.Now()
	res, err := hc.Do(r)
	a.Millis = time.Since(began).Milliseconds()
	if err != nil {
		a.Error = err.Error()
		return a, nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	a.Status, a.Proto, a.Reason, a.Marker = res.StatusCode, res.Proto, res.Status, res.Header.Get("X-Claude-Bottle")
	a.Body, a.Error, a.URL = string(body), errText(err), res.Request.URL.String()
	a.Header = fmt.Sprint(res.Header)
	return a, nil
}

func (c *client) transport() *http.Transport {
	t := &http.Transport{
		TLSClientConfig:   &tls.Config{ServerName: c.sni, InsecureSkipVerify: c.unsafe}, //nolint:gosec // an attacker's own choice
		DisableKeepAlives: true,
		ForceAttemptHTTP2: c.http2,
	}
	if c.via == "proxy" {
		// http:// in absolute form; for https:// net/http makes a CONNECT of it.
		t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxyAddr})
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			c.refusedConnect(res)
			return nil
		}
		return t
	}
	t.DialContext = c.connect
	return t
}

func (c *client) refusedConnect(res *http.Response) {
	if res.StatusCode == http.StatusOK {
		return
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // as much as came
	c.answer.Connect, c.answer.Reason = res.StatusCode, res.Status
	c.answer.Marker, c.answer.Body = res.Header.Get("X-Claude-Bottle"), string(body)
}

// connect opens the connection a request goes over.
func (c *client) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: c.timeout}
	if c.via == "direct" {
		if c.dial != "" {
			addr = c.dial
		}
		return d.DialContext(ctx, network, addr)
	}
	if c.target != "" {
		addr = c.target
	}
	conn, err := d.DialContext(ctx, network, proxyAddr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(c.timeout)) // a dead one fails below
	switch c.via {
	case "connect":
		return c.tunnel(conn, addr)
	case "socks":
		return c.socks(conn, addr)
	}
	return nil, fmt.Errorf("no way called %q", c.via)
}

// tunnel sends the authority exactly as it is.
func (c *client) tunnel(conn net.Conn, authority string) (net.Conn, error) {
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority); err != nil {
		return nil, err
	}
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		// A CONNECT's answer has no body to net/http; a refusal's is on the wire all the same.
		res.Body = io.NopCloser(io.LimitReader(br, max(0, res.ContentLength)))
		c.refusedConnect(res)
		return nil, errors.New("CONNECT refused: " + res.Status)
	}
	return conn, nil
}

// socks sends the host exactly as it is, as an address when it is one.
func (c *client) socks(conn net.Conn, addr string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var port uint16
	if _, err := fmt.Sscan(portText, &port); err != nil {
		return nil, err
	}
	req := []byte{5, 1, 0, 5, 1, 0} // greeting and request at once: the server can't tell
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		req = append(append(req, map[bool]byte{true: 1, false: 4}[a.Is4()]), a.AsSlice()...)
	} else {
		req = append(append(req, 3, byte(len(host))), host...)
	}
	if _, err := conn.Write(append(req, byte(port>>8), byte(port))); err != nil {
		return nil, err
	}
	reply := make([]byte, 12)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, err
	}
	if c.answer.Socks = int(reply[3]); reply[3] != 0 {
		return nil, fmt.Errorf("SOCKS5 code %d", reply[3])
	}
	return conn, nil
}
