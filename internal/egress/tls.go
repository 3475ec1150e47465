package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

var errNoFlow = errors.New("no flow below this connection")

// errSNI is a ClientHello for somebody else than the connection is for.
var errSNI = errors.New("sni mismatch")

// tlsConfig terminates TLS. One configuration serves all flows, so that sessions resume; what
// differs is asked of the flow below the ClientHello's connection.
func (e *Engine) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		// Asked for every ClientHello, those that resume a session included.
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			f, ok := hello.Conn.(*flow)
			if !ok {
				return nil, errNoFlow
			}
			return nil, f.checkSNI(hello.ServerName)
		},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			f, ok := hello.Conn.(*flow)
			if !ok {
				return nil, errNoFlow
			}
			return e.cfg.Authority.Leaf(f.certName(hello.ServerName))
		},
	}
}

// checkSNI compares the name in the ClientHello with the one the connection is for. A client that
// dialled a bare address or is denied anyway may name what it likes: it gets an answer in words.
func (f *flow) checkSNI(sni string) error {
	if f.denied != nil {
		return nil
	}
	if sni == "" && isAddr(f.host) {
		return nil // an address has no place in SNI
	}
	if name, err := policy.Canonical(sni); err != nil || name != f.host {
		return errSNI
	}
	return nil
}

// certName is the name to present a certificate for.
func (f *flow) certName(sni string) string {
	if f.denied != nil {
		if name, err := policy.Canonical(sni); err == nil {
			return name
		}
		if f.bare.IsValid() {
			return f.bare.Addr().String()
		}
	}
	return f.host
}

// terminate ends TLS here and hands the connection to the HTTP side. The handshake is done first,
// so that a failure is ours to record. It owns f.
func (s *server) terminate(f *flow) {
	c := tls.Server(f, s.tls)
	ctx, cancel := context.WithTimeout(s.ctx, s.e.cfg.Limits.First)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		_ = c.Close() // it never came up
		why := "the TLS handshake failed"
		var alert tls.AlertError
		var op *net.OpError
		switch {
		case errors.Is(err, errSNI):
			why = f.mismatch()
		case errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error":
			why = "the TLS handshake failed: the program does not trust this bottle's certificate authority, or gave up (" + err.Error() + ")"
		}
		s.e.recordFlow(f, f.verdict(why))
		return
	}
	if f.denied != nil && f.bare.IsValid() {
		f.rejudge(c.ConnectionState().ServerName)
	}
	f.ahead.wide, f.gather.wide = &s.e.buffers.wide, &s.e.buffers.wide
	f.tls = true
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		s.hand(c) // its frames leave nothing to be read in two ways
		return
	}
	s.hand(s.strict(c))
}
