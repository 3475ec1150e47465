package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// caFile holds the upstream's certificate authority, in the lab's folder.
const caFile = "upstream-ca.pem"

// lab is the upstream and what stands before it, for one part of the bench.
type lab struct {
	dir      string
	upstream *process
	stops    []func()
}

// newLab starts the upstream.
func newLab(ctx context.Context, dir string) (*lab, error) {
	up, err := helper(ctx, "upstream")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, upstream: up, stops: []func(){up.stop}}
	if err := os.WriteFile(filepath.Join(dir, caFile), []byte(up.hello.CA), 0o600); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// close ends every process of the lab, the upstream last.
func (l *lab) close() {
	for _, stop := range slices.Backward(l.stops) {
		stop()
	}
}

// Names of the two roads that every measurement has.
const (
	directName = "direct"
	engineName = "claude-bottle"
)

// road makes the endpoint by which a host is reached.
type road func(host string) endpoint

// direct leads straight to the upstream.
func (l *lab) direct() road {
	return func(host string) endpoint {
		return endpoint{name: directName, addr: l.upstream.hello.TLS, host: host, tls: trusting(l.upstream.hello.CA, host)}
	}
}

// through starts an egress engine that takes conns connections at once, 0 meaning its own limit.
func (l *lab) through(ctx context.Context, conns int, profile string) (road, *process, error) {
	p, err := helper(ctx, "through", "-upstream", l.upstream.hello.TLS, "-dir", l.dir, "-conns", strconv.Itoa(conns), "-cpuprofile", profile)
	if err != nil {
		return nil, nil, err
	}
	l.stops = append(l.stops, p.stop)
	return func(host string) endpoint {
		return endpoint{name: engineName, addr: p.hello.Proxy, tunnel: host + ":443", host: host, tls: trusting(p.hello.CA, host), proc: p}
	}, p, nil
}

// trusting is the configuration of a client that speaks HTTP/1.1, trusts the authority in pem and
// wants name.
func trusting(pem, name string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(pem))
	return &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
}
