package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// FuzzProxyPort sends arbitrary bytes to the proxy port. Whatever they are, the engine survives
// and asks nobody outside about a host no rule names.
func FuzzProxyPort(f *testing.F) {
	for _, s := range []string{
		"GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"CONNECT ok.test:443 HTTP/1.1\r\n\r\n\x16\x03\x01",
		"CONNECT c2.test:443 HTTP/1.1\r\n\r\n",
		"CONNECT ok.test:80 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: c2.test\r\n\r\n",
		"\x05\x01\x00\x05\x01\x00\x03\x07ok.test\x00\x50GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"\x04\x01", "PRI * HTTP/2.0\r\n\r\n", "\x16\x03\x01\x00\x05hello",
	} {
		f.Add([]byte(s))
	}
	asked := make(chan string, 1024)
	p, err := policy.Compile([]policy.Route{route(f, "ok", "ok.test", plain)})
	if err != nil {
		f.Fatal(err)
	}
	e, err := egress.New(egress.Config{
		Policy: p, Authority: newAuthority(f),
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			asked <- host
			return nil, errors.New("nothing is resolved here")
		},
		Dial: func(_ context.Context, _ string, a netip.AddrPort) (net.Conn, error) {
			asked <- a.String()
			return nil, errors.New("nothing is dialled here")
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.ServeProxy(ctx, l) }()
	f.Cleanup(func() { cancel(); <-done })
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = c.Write(in)
		_ = c.(*net.TCPConn).CloseWrite()
		out, err := io.ReadAll(c)
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("hung after %q", out)
		}
		for {
			select {
			case host := <-asked:
				if host != "ok.test" {
					t.Fatalf("%q was asked for", host)
				}
				continue
			default:
			}
			break
		}
		if strings.Contains(string(out), "panic") {
			t.Fatalf("%q", out)
		}
	})
}
