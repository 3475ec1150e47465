package main

import (
	"context"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/egress/authority"
	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// outside is a public address that every name of the measurements resolves to. Dialling it ends at
// the upstream, so that the guard is as strict as in earnest.
var outside = netip.MustParseAddr("93.184.216.34")

// throughMain is the egress engine as a process of its own, with what a warden gives it: a policy,
// an authority, secrets and an audit log on disk.
func throughMain(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("through", flag.ContinueOnError)
	upstream := flags.String("upstream", "", "the upstream's address")
	dir := flags.String("dir", "", "a folder with "+caFile+", the upstream's authority, and room for an audit log")
	conns := flags.Int("conns", 0, "connections at once; 0 is the engine's own limit")
	profile := flags.String("cpuprofile", "", "write a CPU profile to this file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer func() {
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(*dir, caFile))
	if err != nil {
		return err
	}
	roots.AppendCertsFromPEM(pem)
	log, err := audit.Open(filepath.Join(*dir, fmt.Sprintf("audit-%d.jsonl", os.Getpid())), "bench")
	if err != nil {
		return err
	}
	defer func() {
		if cerr := log.Close(); err == nil {
			err = cerr
		}
	}()
	ca, err := authority.New(time.Now())
	if err != nil {
		return err
	}
	routes, err := rules()
	if err != nil {
		return err
	}
	compiled, err := policy.Compile(routes)
	if err != nil {
		return err
	}
	inspector, err := looking()
	if err != nil {
		return err
	}
	engine, err := egress.New(egress.Config{
		Policy: compiled, Authority: ca, Secrets: secrets(), Record: log.Append, Inspector: inspector, Roots: roots,
		Resolve: func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{outside}, nil },
		Dial: func(ctx context.Context, network string, _ netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, *upstream)
		},
		Limits: egress.Limits{Conns: *conns},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := sayHello(hello{Proxy: l.Addr().String(), CA: string(ca.PEM())}); err != nil {
		return err
	}
	return engine.Serve(ctx, wire.Ways{Proxy: l})
}

// looking is the full scan: for every secret, in every disguise, and for what credentials look like.
func looking() (*inspect.Inspector, error) {
	var all []scan.Secret
	for name, v := range secrets() {
		all = append(all, scan.Secret{Name: name, Value: v})
	}
	scanner, err := inspect.NewScanner(all, nil)
	if err != nil {
		return nil, err
	}
	return inspect.New(inspect.Config{Scanner: scanner, Echoes: map[string][]secret.Value{keyRef: {secrets()[keyRef]}}}), nil
}

// secrets are as many credentials as a well-equipped bottle's warden holds, worthless ones.
func secrets() map[string]secret.Value {
	return map[string]secret.Value{
		keyRef:                  secret.New("sk-ant-api03-bench-Zm9yIG1lYXN1cmVtZW50cyBvbmx5LCB3b3J0aGxlc3M-0001"),
		"GITHUB_TOKEN":          secret.New("bench-9aV3kQ0xT7uLr2WmCz5NfJ8hYd4Ge1Sb"),
		"NPM_TOKEN":             secret.New("bench-Pq8Rt5Wz2Yb6Nc1Mx9Lk4Jh7Gf3Ds0Aa"),
		"PYPI_TOKEN":            secret.New("bench-AgEIcHlwaS5vcmcCJGJlbmNoLW9ubHktd29ydGhsZXNzAAIqWzMsIg"),
		"AWS_SECRET_ACCESS_KEY": secret.New("bench/w0rthl3ss/K7MDENGbPxRfiCYEXAMPLEKEY"),
		"DATABASE_URL":          secret.New("postgres://app:bench-correct-horse-7731@db.internal.example.com:5432/app"),
		"SENTRY_AUTH_TOKEN":     secret.New("bench-5f0d2c9e81b74a36a7c4e0b9d8f21365"),
		"SIGNING_KEY":           secret.New("bench-MC4CAQAwBQYDK2VwBCIEIJ-worthless-0123456789abcdefghijklmnop"),
	}
}
