package authority

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func make1(t testing.TB) (*Authority, *x509.CertPool) {
	t.Helper()
	a, err := New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(a.PEM()) {
		t.Fatal("the PEM holds no certificate")
	}
	return a, p
}

func TestLeavesAreTrustedForTheirHostAlone(t *testing.T) {
	t.Parallel()
	a, pool := make1(t)
	_, other := make1(t)
	for _, host := range []string{"ok.test", "10.0.0.1", "2001:db8::1", strings.Repeat("a", 63) + ".test"} {
		leaf, err := a.Leaf(host)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(leaf.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: pool}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: "c2.test", Roots: pool}); err == nil {
			t.Errorf("%s: good for another host", host)
		}
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: other}); err == nil {
			t.Errorf("%s: another bottle trusts it (D07)", host)
		}
		if cert.IsCA {
			t.Errorf("%s: a leaf that signs", host)
		}
	}
}

func TestD07TheKeyIsNotInThePEM(t *testing.T) {
	t.Parallel()
	a, _ := make1(t)
	block, rest := pem.Decode(a.PEM())
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 || bytes.Contains(a.PEM(), []byte("PRIVATE")) {
		t.Errorf("%s", a.PEM())
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); !cert.IsCA || !cert.MaxPathLenZero || life > 32*24*time.Hour {
		t.Errorf("CA %v, path length zero %v, life %s", cert.IsCA, cert.MaxPathLenZero, life)
	}
}

func TestLeavesAreKeptAndBounded(t *testing.T) {
	t.Parallel()
	a, _ := make1(t)
	first, err := a.Leaf("first.test")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 100 {
				if _, err := a.Leaf(fmt.Sprintf("h%d-%d.test", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(a.leaves) != cached || a.recent.Len() != cached {
		t.Errorf("%d leaves, %d in order", len(a.leaves), a.recent.Len())
	}
	again, err := a.Leaf("first.test")
	if err != nil || again == first {
		t.Errorf("the least recently used leaf was kept, %v", err)
	}
	if same, _ := a.Leaf("first.test"); same != again {
		t.Error("a leaf just made was made again")
	}
}

func BenchmarkMint(b *testing.B) {
	a, _ := make1(b)
	n := 0
	for b.Loop() {
		n++
		if _, err := a.Leaf(fmt.Sprintf("h%d.test", n)); err != nil {
			b.Fatal(err)
		}
	}
}
