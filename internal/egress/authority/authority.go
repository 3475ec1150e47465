// Package authority is a bottle's own certificate authority. It is minted at launch, its key never
// leaves the warden's memory, and it dies with the bottle, so that what one bottle trusts is worth
// nothing to another one or to the host.
//
//	a, err := authority.New(time.Now())
//	trust := a.PEM()               // into the bottle's trust store
//	leaf, err := a.Leaf("ok.test") // to terminate a connection with
package authority

import (
	"container/list"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"sync"
	"time"
)

const (
	// life is how long the authority and its leaves are valid: longer than a bottle lives.
	life = 30 * 24 * time.Hour
	// skew is how far a bottle's clock may be behind ours, as a machine's that was resumed.
	skew = 24 * time.Hour
	// cached bounds the leaves kept: a bottle may ask for as many names as it likes.
	cached = 256
)

// Authority mints leaves. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
	leaf *ecdsa.PrivateKey // one for all leaves: making keys is the slow part

	mu     sync.Mutex
	leaves map[string]*list.Element
	recent list.List // of entry, most recently used first
}

type entry struct {
	host string
	cert *tls.Certificate
}

// New makes an authority, valid from a day before now.
func New(now time.Time) (*Authority, error) {
	a := &Authority{leaves: make(map[string]*list.Element)}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if a.leaf, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		// The serial in the name keeps two bottles' authorities apart wherever names are compared.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("claude-bottle %x", serial.Bytes()[:4])},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &a.key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a, nil
}

// PEM returns the certificate for the bottle's trust store. The caller must not change it.
func (a *Authority) PEM() []byte { return a.pem }

// Leaf returns a certificate for host, a canonical DNS name or IP address; the caller must not
// change it. The most recently used ones are kept.
func (a *Authority) Leaf(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.leaves[host]; ok {
		a.recent.MoveToFront(e)
		return e.Value.(entry).cert, nil
	}
	cert, err := a.mint(host)
	if err != nil {
		return nil, err
	}
	a.leaves[host] = a.recent.PushFront(entry{host, cert})
	if a.recent.Len() > cached {
		old := a.recent.Remove(a.recent.Back()).(entry)
		delete(a.leaves, old.host)
	}
	return cert, nil
}

func (a *Authority) mint(host string) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    a.cert.NotBefore,
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	} else {
		t.DNSNames = []string{host}
	}
	// A common name is for people to read; RFC 5280 allows it 64 characters.
	if len(host) <= 64 {
		t.Subject.CommonName = host
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &a.leaf.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", host, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leaf}, nil
}

func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("certificate serial: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and of full length
	return new(big.Int).SetBytes(b), nil
}
