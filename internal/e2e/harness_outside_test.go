//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// Addresses of the world. Every other one is the capture server's.
var (
	goodAddr  = netip.MustParseAddr("93.184.216.34")
	c2Addr    = netip.MustParseAddr("93.184.216.66")
	c2Addr6   = netip.MustParseAddr("2606:2800:220:1::66")
	privAddr  = netip.MustParseAddr("10.11.12.13")
	metaAddr  = netip.MustParseAddr("169.254.169.254")
	cgnatAddr = netip.MustParseAddr("100.64.3.4")
	declared  = netip.MustParseAddr("100.64.3.5") // also the good site's
	benchAddr = netip.MustParseAddr("198.18.77.1")
)

// zone are the names of the world; any name that isn't here is the capture server's.
var zone = map[string][]netip.Addr{
	"ok.test": {goodAddr}, "llm.test": {goodAddr}, "deep.wild.test": {goodAddr}, "wild.test": {goodAddr}, "other.test": {goodAddr}, "private.test": {privAddr},
	"meta.test": {metaAddr}, "cgnat.test": {cgnatAddr}, "bench.test": {benchAddr}, "declared.test": {declared}, "zero.test": {netip.IPv4Unspecified()}, "loop.test": {netip.MustParseAddr("127.0.0.1")},
	"ula.test": {netip.MustParseAddr("fd12::1")}, "half.test": {goodAddr, privAddr}, "nat64.test": {netip.MustParseAddr("64:ff9b::a9fe:a9fe")},
}

// c2Ports are where the capture server listens, TCP, on every address. On UDP it hears 53, 443,
// 123 and 4433.
var c2Ports = []int{22, 25, 53, 80, 443, 853, 2375, 2376, 4433, 5432, 6443, 8080, 8443, 9443}

// outsideWorld is everybody a bottle could talk to.
type outsideWorld struct {
	caFile string
	c2     capture
	dns    nameServer
	good   goodSite
	sites  sites

	closers []io.Closer
	running sync.WaitGroup
}

func openWorld() (w *outsideWorld, err error) {
	w = &outsideWorld{caFile: "/tmp/ca.pem"}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	cert, err := w.certificate()
	if err != nil {
		return w, err
	}
	if err := w.serveDNS(); err != nil {
		return w, err
	}
	if err := w.serveGood(cert); err != nil {
		return w, err
	}
	if err := w.serveSites(cert); err != nil {
		return w, err
	}
	return w, w.serveC2(cert)
}

// certificate makes the world's authority, the file the operators trust, and one certificate for
// all good names and for the capture server: a lie that gets that far must find a listener that
// understands it.
func (w *outsideWorld) certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the world's authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"ok.test", "llm.test", "wild.test", "*.wild.test", "*.test", "c2.test"},
		IPAddresses: []net.IP{goodAddr.AsSlice(), c2Addr.AsSlice(), c2Addr6.AsSlice(), metaAddr.AsSlice(), net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	err = os.WriteFile(w.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (w *outsideWorld) close() (err error) {
	for _, c := range w.closers {
		err = errors.Join(err, c.Close())
	}
	w.c2.closeConns()
	w.running.Wait()
	return errors.Join(err, os.Remove(w.caFile))
}

// verdict is the whole suite's: nothing reached the capture server, ever.
func (w *outsideWorld) verdict() error {
	var errs []error
	if n := w.c2.secretBytes(); n > 0 {
		errs = append(errs, fmt.Errorf("the capture server got %d bytes of planted secrets", n))
	}
	for _, c := range w.c2.heard() {
		errs = append(errs, fmt.Errorf("the capture server was reached: %s", c))
	}
	for _, q := range w.dns.asked() {
		if _, known := addresses(q); !known {
			errs = append(errs, fmt.Errorf("the name server was asked for %s", q))
		}
	}
	return errors.Join(errs...)
}

// listener lets the capture server have a port on every address beside somebody who has it on one.
var listener = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }), err)
}}

// capture hears everything on every address that is not somebody else's.
type capture struct {
	mu    sync.Mutex
	calls []string // who, where, what
	bytes int      // of planted secrets
	conns map[net.Conn]struct{}
}

// proof is what the harness sends to see that the capture server hears; it is not counted.
const proof = "e2e-proof"

func (c *capture) note(where string, from net.Addr, data []byte) {
	if bytes.HasPrefix(data, []byte(proof)) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("%s from %s: %.200q", where, from, data))
	for _, s := range []string{planted, tokenSecret, hostSecret} {
		for _, form := range []string{s, hex.EncodeToString([]byte(s)), strings.ReplaceAll(s, "-", "")} {
			c.bytes += bytes.Count(bytes.ToLower(data), []byte(form)) * len(form)
		}
	}
}

func (c *capture) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

func (c *capture) secretBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// forget is for tests whose bottles were made to leak.
func (c *capture) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls, c.bytes = nil, 0
}

func (c *capture) closeConns() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close() // its reader ends
	}
}

func (w *outsideWorld) serveC2(cert tls.Certificate) error {
	w.c2.conns = map[net.Conn]struct{}{}
	for _, port := range c2Ports {
		l, err := listener.Listen(context.Background(), "tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return fmt.Errorf("capture server: %w", err)
		}
		w.closers = append(w.closers, l)
		w.running.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				w.c2.mu.Lock()
				w.c2.conns[conn] = struct{}{}
				w.c2.mu.Unlock()
				w.running.Go(func() { w.c2.listen(conn, cert) })
			}
		})
	}
	for _, port := range []int{53, 123, 443, 4433} {
		p, err := listener.ListenPacket(context.Background(), "udp", fmt.Sprintf(":%d", port))
		if err != nil {
			return fmt.Errorf("capture server: %w", err)
		}
		w.closers = append(w.closers, p)
		w.running.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				n, from, err := p.ReadFrom(buf)
				if err != nil {
					return
				}
				w.c2.note(fmt.Sprintf("udp %d", port), from, buf[:n])
			}
		})
	}
	return nil
}

// listen answers one caller, so that an attacker who got through knows it, and keeps what it said.
func (c *capture) listen(conn net.Conn, cert tls.Certificate) {
	defer func() {
		c.mu.Lock()
		delete(c.conns, conn)
		c.mu.Unlock()
		_ = conn.Close() // it was heard
	}()
	where := "tcp " + conn.LocalAddr().String()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // a dead one fails below
	first := make([]byte, 4096)
	n, err := conn.Read(first)
	if first = first[:n]; n == 0 {
		c.note(where, conn.RemoteAddr(), fmt.Appendf(nil, "(nothing: %v)", err))
		return
	}
	c.note(where, conn.RemoteAddr(), first)
	var stream io.ReadWriter = conn
	if first[0] == 0x16 {
		t := tls.Server(&rewound{conn, first}, &tls.Config{Certificates: []tls.Certificate{cert}})
		if t.Handshake() != nil {
			return
		}
		stream, first = t, nil
	}
	if _, err := io.WriteString(stream, "HTTP/1.1 200 OK\r\nX-Who: c2\r\nContent-Length: 2\r\n\r\nc2"); err != nil {
		return
	}
	rest, _ := io.ReadAll(io.LimitReader(stream, 1<<20)) // until it leaves
	if len(rest) > 0 {
		c.note(where, conn.RemoteAddr(), rest)
	}
}

// rewound is a connection of which something was read.
type rewound struct {
	net.Conn
	front []byte
}

func (r *rewound) Read(p []byte) (int, error) {
	if len(r.front) > 0 {
		n := copy(p, r.front)
		r.front = r.front[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// goodSite is every allowed host: it says who asked for what.
type goodSite struct {
	mu   sync.Mutex
	seen []string // "METHOD host path authorization"
}

func (g *goodSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)) // as much as came
	g.mu.Lock()
	g.seen = append(g.seen, fmt.Sprintf("%s %s %s %s", r.Method, r.Host, r.URL.RequestURI(), r.Header.Get("Authorization")))
	g.mu.Unlock()
	if to := r.URL.Query().Get("to"); to != "" {
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	w.Header().Set("X-Who", "good")
	_, _ = fmt.Fprintf(w, "good %s %s %s %d", r.Method, r.Host, r.URL.Path, len(body)) // a client that left does not read it
}

// requests counts those whose line holds text.
func (g *goodSite) requests(text string) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.seen {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

func (w *outsideWorld) serveGood(cert tls.Certificate) error {
	for _, at := range []netip.AddrPort{
		netip.AddrPortFrom(goodAddr, 80), netip.AddrPortFrom(goodAddr, 443), netip.AddrPortFrom(goodAddr, 8444), netip.AddrPortFrom(declared, 80),
	} {
		l, err := listener.Listen(context.Background(), "tcp", at.String())
		if err != nil {
			return fmt.Errorf("good site: %w", err)
		}
		s := &http.Server{Handler: &w.good, ReadHeaderTimeout: 10 * time.Second}
		w.closers = append(w.closers, s)
		w.running.Go(func() {
			if at.Port() == 80 {
				_ = s.Serve(l) // ends with Close
				return
			}
			s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
			_ = s.ServeTLS(l, "", "") // the same
		})
	}
	return nil
}

// nameServer is the only one of the world.
type nameServer struct {
	mu    sync.Mutex
	names []string
}

func (d *nameServer) asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.names)
}

func (w *outsideWorld) serveDNS() error {
	p, err := listener.ListenPacket(context.Background(), "udp", "127.0.0.1:53")
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	w.closers = append(w.closers, p)
	w.running.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := w.dns.answer(buf[:n]); out != nil {
				_, _ = p.WriteTo(out, from) // datagrams may be lost
			}
		}
	})
	return nil
}

func (d *nameServer) answer(b []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(b) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	d.mu.Lock()
	d.names = append(d.names, name)
	d.mu.Unlock()
	addrs, known := addresses(name)
	if !known {
		addrs = []netip.Addr{c2Addr, c2Addr6}
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, a := range addrs {
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
