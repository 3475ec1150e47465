package egress_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
)

// BenchmarkGet is a small GET over kept-alive HTTPS on 16 connections: straight to the upstream,
// and through CONNECT and interception.
func BenchmarkGet(b *testing.B) {
	w := newWorld(b, standard(b), func(c *egress.Config) { c.Record = func(audit.Event) {} })
	to := w.ok.Listener.Addr().String()
	direct := w.clientWith(&http.Transport{
		MaxIdleConnsPerHost: 16,
		TLSClientConfig:     tlsTrusting(w.pki),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", to)
		},
	})
	proxied := w.clientWith(&http.Transport{
		MaxIdleConnsPerHost: 16,
		TLSClientConfig:     tlsTrusting(w.ca),
		Proxy:               http.ProxyURL(&url.URL{Scheme: "http", Host: w.proxy}),
	})
	for name, c := range map[string]*http.Client{"direct": direct, "proxied": proxied} {
		b.Run(name, func(b *testing.B) { hammer(b, c) })
	}
}

func hammer(b *testing.B, c *http.Client) {
	b.ReportAllocs()
	b.SetParallelism(8) // times two cores: 16 connections
	var failed atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := c.Get("https://ok.test/x")
			if err != nil {
				failed.Add(1)
				continue
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 {
				failed.Add(1)
			}
		}
	})
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d requests failed", n)
	}
}
