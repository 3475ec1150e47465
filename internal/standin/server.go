package standin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"
)

// Protocol is how a Server is spoken to.
type Protocol uint8

// The protocols.
const (
	Plain Protocol = iota // http
	TLS                   // https (HTTP/1.1 and HTTP/2) with a certificate of its own authority
)

// Server is an API listening on loopback.
type Server struct {
	// URL is scheme and authority: "https://127.0.0.1:41873".
	URL string
	// CA is the PEM certificate that TLS clients must trust; empty for Plain.
	CA string

	http *http.Server
	done chan error
}

// Start serves a on a free port of 127.0.0.1 until Close.
func (a *API) Start(p Protocol) (*Server, error) {
	s := &Server{done: make(chan error, 1)}
	s.http = &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		// A client that breaks off in the handshake is its own affair.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if p == TLS {
		cert, ca, err := mint()
		if err != nil {
			return nil, fmt.Errorf("stand-in certificate: %w", err)
		}
		s.CA = ca
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("stand-in: %w", err)
	}
	s.URL = "http://" + l.Addr().String()
	serve := func() error { return s.http.Serve(l) }
	if p == TLS {
		s.URL = "https://" + l.Addr().String()
		serve = func() error { return s.http.ServeTLS(l, "", "") }
	}
	go func() { s.done <- serve() }()
	return s, nil
}

// Close lets requests at work finish for up to two seconds, ends the rest, and waits for the
// server's goroutine. It is to be called once.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // what is left are streams nobody reads
	}
	if err := <-s.done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stand-in: %w", err)
	}
	return nil
}

// mint makes an authority and a certificate of it for loopback, valid for a day.
func mint() (tls.Certificate, string, error) {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "claude-bottle model stand-in"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &leafKey.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	pemCA := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}, string(pemCA), nil
}
