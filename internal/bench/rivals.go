package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// errAbsent is a rival that is not installed.
var errAbsent = errors.New("rival absent")

// absent says that name's rows are left out, and how to have them. scripts/bench looks for these
// lines and repeats them at its end.
func absent(name, install string) error { return fmt.Errorf("%w: %s (%s)", errAbsent, name, install) }

// mitmdump starts mitmproxy without a face, intercepting as the engine does.
func (l *lab) mitmdump(ctx context.Context) (road, string, error) {
	program, err := exec.LookPath("mitmdump")
	if err != nil {
		return nil, "", absent("mitmdump", "Debian: apt-get install mitmproxy")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", err
	}
	conf := filepath.Join(l.dir, "mitmproxy")
	p, err := rival(ctx, "mitmdump", addr, []string{
		program, "--quiet", "--listen-host", "127.0.0.1", "--listen-port", port,
		"--set", "confdir=" + conf, "--set", "ssl_verify_upstream_trusted_ca=" + filepath.Join(l.dir, caFile),
	})
	if err != nil {
		return nil, "", err
	}
	l.stops = append(l.stops, p.stop)
	ca, err := os.ReadFile(filepath.Join(conf, "mitmproxy-ca-cert.pem"))
	if err != nil {
		return nil, "", err
	}
	_, upstream, err := net.SplitHostPort(l.upstream.hello.TLS)
	if err != nil {
		return nil, "", err
	}
	to := "localhost:" + upstream // it resolves names itself
	return func(string) endpoint {
		return endpoint{name: "mitmdump", addr: addr, tunnel: to, host: to, tls: trusting(string(ca), "localhost"), proc: p}
	}, version(ctx, program, "--version"), nil
}

// squidConf is squid as a forwarding proxy and nothing else: no cache, no log, one process.
const squidConf = `http_port %s
http_access allow all
cache deny all
cache_log /dev/null
access_log none
cache_store_log none
pid_filename none
netdb_filename none
coredump_dir none
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname bench.invalid
`

// squid starts squid, which forwards in the clear: it does less than the engine in every respect.
// Started by root it makes itself the user proxy.
func (l *lab) squid(ctx context.Context) (road, string, error) {
	program, err := exec.LookPath("squid")
	if err != nil { // where Debian has it, which only root's PATH names
		program, err = exec.LookPath("/usr/sbin/squid")
	}
	if err != nil {
		return nil, "", absent("squid", "Debian: apt-get install squid; the service it starts is not needed")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	conf := filepath.Join(l.dir, "squid.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, squidConf, addr), 0o600); err != nil {
		return nil, "", err
	}
	p, err := rival(ctx, "squid", addr, []string{program, "-N", "-f", conf})
	if err != nil {
		return nil, "", err
	}
	l.stops = append(l.stops, p.stop)
	to := l.upstream.hello.Plain
	return func(string) endpoint {
		return endpoint{name: "squid", addr: addr, origin: "http://" + to, host: to, proc: p}
	}, version(ctx, program, "-v"), nil
}

// version returns the first line of what a program says about itself.
func version(ctx context.Context, argv ...string) string {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return "unknown version"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.Join(strings.Fields(line), " ")
}
