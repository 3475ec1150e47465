//go:build linux

package e2e_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// siteAddr is where the allowed hosts are of which every byte is kept.
var siteAddr = netip.MustParseAddr("93.184.216.35")

// siteNames are those hosts, and everything below sink.test is one more.
var siteNames = []string{
	"sink.test", "echo.test", "pinned.test", "lines.test",
	"registry.npmjs.org", "api.github.com", "github.com",
}

// linesPort is where lines.test talks to whoever comes, and talks first.
const linesPort = 5432

// addresses are those of a name of the world; known is false for the capture server's.
func addresses(name string) (addrs []netip.Addr, known bool) {
	if slices.Contains(siteNames, name) || strings.HasSuffix(name, ".sink.test") {
		return []netip.Addr{siteAddr}, true
	}
	addrs, known = zone[name]
	return addrs, known
}

// sites are the hosts at siteAddr. What no test has a handler for is kept and answered.
type sites struct {
	issuer tls.Certificate

	serving sync.RWMutex // held while a test's handler is at work

	mu       sync.Mutex
	handlers map[string]http.Handler
	seen     []arrival
}

// arrival is one request, or one message of a WebSocket, as it came.
type arrival struct {
	host, path string
	text       string // all of it, and its body once more without its coding
	values     string // what its parameters come to, one after the other
}

// serve has h answer for a host as long as the test runs; what arrives is kept all the same.
func (s *sites) serve(t testing.TB, host string, h http.Handler) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handlers[host] != nil {
		t.Fatalf("two tests serve %s", host)
	}
	s.handlers[host] = h
	t.Cleanup(func() {
		s.serving.Lock() // other tests ask the same hosts
		defer s.serving.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.handlers, host)
	})
}

// maxArrival bounds what is kept of one body, in bytes.
const maxArrival = 8 << 20

func (s *sites) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		s.talk(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxArrival)) // of one that broke off what came
	s.keep(r, body)
	if err != nil {
		return // so did the client
	}
	s.serving.RLock()
	defer s.serving.RUnlock()
	s.mu.Lock()
	h := s.handlers[r.Host]
	s.mu.Unlock()
	if h != nil {
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil // for CGI
		h.ServeHTTP(w, r)
		return
	}
	_, _ = fmt.Fprintf(w, "sink %s %s %s %d\n", r.Method, r.Host, r.URL.Path, len(body)) // a client that left does not read it
}

// keep remembers a request.
func (s *sites) keep(r *http.Request, body []byte) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.Host)
	_ = r.Header.Write(&b) // a Builder takes everything
	b.WriteString("\r\n")
	b.Write(body)
	if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
		plain, _ := io.ReadAll(io.LimitReader(z, maxArrival)) // of a torn one its beginning
		b.WriteString("\r\n")
		b.Write(plain)
	}
	var values strings.Builder
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		_, v, _ := strings.Cut(pair, "=")
		values.WriteString(v)
	}
	if labels, ok := strings.CutSuffix(r.Host, ".sink.test"); ok {
		values.WriteString(strings.ReplaceAll(labels, ".", ""))
	}
	s.add(arrival{r.Host, r.URL.Path, b.String(), values.String()})
}

func (s *sites) add(a arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, a)
}

// talk keeps the messages of a WebSocket and says each back.
func (s *sites) talk(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // of any origin
	if err != nil {
		return // it was told why
	}
	defer func() { _ = c.CloseNow() }() // both are done
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		s.add(arrival{r.Host, r.URL.Path, string(message), string(message)})
		if c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// arrived is what came for a path, or below it, from the beginning.
func (s *sites) arrived(path string) (all []arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.seen {
		if a.path == path || strings.HasPrefix(a.path, path+"/") {
			all = append(all, a)
		}
	}
	return all
}

// from is what came with a mark of its sender's in the field X-From.
func (s *sites) from(mark string) (all []arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.seen {
		if strings.Contains(a.text, "\r\nX-From: "+mark+"\r\n") {
			all = append(all, a)
		}
	}
	return all
}

// holds reports whether one of values is in what arrived: as it is, in a disguise, or in pieces that
// follow one another. Case counts for nothing, since host and header names have none.
func holds(all []arrival, values ...string) bool {
	var pieces strings.Builder
	for _, a := range all {
		if disguised(a.text, values...) {
			return true
		}
		pieces.WriteString(a.values)
	}
	return disguised(pieces.String(), values...)
}

// parts are parts of a secret, of which one is in every sequence of its characters that is long enough
// to be told from chance.
func parts(value string) (all []string) {
	const size, step = 12, 6
	for i := 0; i+size <= len(value); i += step {
		all = append(all, value[i:i+size])
	}
	return all
}

// disguised reports whether text holds one of values in one of the spellings the attackers here use.
func disguised(text string, values ...string) bool {
	text = strings.ToLower(text)
	for _, v := range values {
		for _, s := range spellings(v) {
			if strings.Contains(text, strings.ToLower(s)) {
				return true
			}
		}
	}
	return false
}

func spellings(value string) []string {
	backwards := []byte(value)
	slices.Reverse(backwards)
	digits := hex.EncodeToString([]byte(value))
	var percent, escaped strings.Builder
	for i := 0; i < len(digits); i += 2 {
		percent.WriteString("%" + digits[i:i+2])
		escaped.WriteString(`\u00` + digits[i:i+2])
	}
	all := []string{
		value, url.QueryEscape(value), string(backwards), digits, percent.String(), escaped.String(),
		strings.TrimRight(base32.StdEncoding.EncodeToString([]byte(value)), "="), base64.RawStdEncoding.EncodeToString([]byte(digits)),
	}
	for before := range 3 {
		// At any alignment: without the letters that its neighbours have a say in.
		code := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), value...))
		all = append(all, code[(before*8+5)/6:(before+len(value))*8/6])
	}
	return all
}

// serveSites opens siteAddr. Every name has a certificate of the world's authority.
func (w *outsideWorld) serveSites(authority tls.Certificate) error {
	npm, err := newRegistry()
	if err != nil {
		return err
	}
	w.sites.issuer, w.sites.handlers = authority, map[string]http.Handler{"registry.npmjs.org": npm}
	for _, port := range []uint16{80, 443} {
		l, err := listener.Listen(context.Background(), "tcp", netip.AddrPortFrom(siteAddr, port).String())
		if err != nil {
			return fmt.Errorf("sites: %w", err)
		}
		// Clients that break off in the handshake do so on purpose.
		s := &http.Server{Handler: &w.sites, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
		w.closers = append(w.closers, s)
		w.running.Go(func() {
			if port == 80 {
				_ = s.Serve(l) // ends with Close
				return
			}
			s.TLSConfig = &tls.Config{GetCertificate: w.sites.certificate, NextProtos: []string{"h2", "http/1.1"}}
			_ = s.ServeTLS(l, "", "") // the same
		})
	}
	return w.serveLines()
}

// pinnedName is who has a certificate that nobody in the world trusts.
const pinnedName = "pinned.test"

// certificate makes the one a client asks for.
func (s *sites) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == pinnedName {
		return pinnedCertificate()
	}
	return issue(hello.ServerName, s.issuer)
}

// pinnedCertificate is pinned.test's own.
var pinnedCertificate = sync.OnceValues(func() (*tls.Certificate, error) { return issue(pinnedName, tls.Certificate{}) })

// issue makes a certificate for name, which is its own issuer where none is given.
func issue(name string, issuer tls.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	parent, by := leaf, any(key)
	if issuer.PrivateKey != nil {
		if parent, err = x509.ParseCertificate(issuer.Certificate[0]); err != nil {
			return nil, err
		}
		by = issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, &key.PublicKey, by)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// greeting is what lines.test says before it was said anything.
const greeting = "lines.test at your service"

// serveLines greets whoever comes to lines.test's port and says back what it is said.
func (w *outsideWorld) serveLines() error {
	l, err := listener.Listen(context.Background(), "tcp", netip.AddrPortFrom(siteAddr, linesPort).String())
	if err != nil {
		return fmt.Errorf("lines.test: %w", err)
	}
	w.closers = append(w.closers, l)
	w.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.running.Go(func() { speak(c) })
		}
	})
	return nil
}

func speak(c net.Conn) {
	defer func() { _ = c.Close() }()                    // nothing more is said
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a dead one fails below
	if _, err := io.WriteString(c, greeting+"\n"); err == nil {
		_, _ = io.Copy(c, c) // until the client has had enough
	}
}
