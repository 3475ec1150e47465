package egress_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
)

// BenchmarkGet is a small GET over kept-alive HTTPS on 16 connections: straight to the upstream,
// and through CONNECT and interception.
func BenchmarkGet(b *testing.B) {
	for name, c := range benched(b) {
		b.Run(name, func(b *testing.B) { hammer(b, c) })
	}
}

// BenchmarkDownload is a large body over HTTPS, the same two ways.
func BenchmarkDownload(b *testing.B) {
	const size = 64 << 20
	for name, c := range benched(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				res, err := c.Get("https://ok.test/zeros?size=" + strconv.Itoa(size))
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if n != size || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// BenchmarkIdle is what a kept-alive connection costs between two requests, in the clear and in TLS,
// where the client's own half is counted with it.
func BenchmarkIdle(b *testing.B) {
	w := newWorld(b, standard(b), limitConns(20000))
	for name, way := range w.ways() {
		if !strings.HasPrefix(name, "CONNECT") {
			continue
		}
		b.Run(name, func(b *testing.B) {
			used := func() float64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return float64(m.HeapInuse + m.StackInuse)
			}
			before := used()
			conns := make([]net.Conn, 0, b.N)
			for b.Loop() {
				c := way.open()
				if res, _, err := ask1(b, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n"); err != nil || res.StatusCode != 200 {
					b.Fatal(res, err)
				}
				conns = append(conns, c)
			}
			b.ReportMetric((used()-before)/float64(len(conns)), "B/conn")
			for _, c := range conns {
				_ = c.Close()
			}
		})
	}
}

// benched are clients that ask ok.test straight and through the engine.
func benched(b *testing.B) map[string]*http.Client {
	b.Helper()
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
	return map[string]*http.Client{"direct": direct, "proxied": proxied}
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
