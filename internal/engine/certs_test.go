package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority issues certificates to a server at 127.0.0.1 and a client.
type authority struct {
	ca             string // file
	server, client TLSFiles
}

// newAuthority makes one with its files in dir.
func newAuthority(dir string) (*authority, error) {
	a := &authority{ca: filepath.Join(dir, caFile)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	issue := func(name string, usage x509.ExtKeyUsage) (TLSFiles, error) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return TLSFiles{}, err
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: root.NotBefore, NotAfter: root.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{usage}, KeyUsage: x509.KeyUsageDigitalSignature,
		}
		cert, err := x509.CreateCertificate(rand.Reader, leaf, root, &own.PublicKey, key)
		if err != nil {
			return TLSFiles{}, err
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			return TLSFiles{}, err
		}
		f := TLSFiles{CA: a.ca, Cert: filepath.Join(dir, name+"-"+certFile), Key: filepath.Join(dir, name+"-"+keyFile)}
		return f, errors.Join(writePEM(f.Cert, "CERTIFICATE", cert), writePEM(f.Key, "PRIVATE KEY", pkcs8))
	}
	if err := writePEM(a.ca, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	if a.server, err = issue("server", x509.ExtKeyUsageServerAuth); err != nil {
		return nil, err
	}
	a.client, err = issue("client", x509.ExtKeyUsageClientAuth)
	return a, err
}

func writePEM(name, kind string, der []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
