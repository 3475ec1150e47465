package egress_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

func limitRequests(n int) func(*egress.Config) {
	return func(c *egress.Config) { c.Limits.Requests = n }
}

func limitConns(n int) func(*egress.Config) {
	return func(c *egress.Config) { c.Limits.Conns = n }
}

func networks(list ...string) func(*policy.Route) {
	return func(r *policy.Route) {
		for _, s := range list {
			r.Networks = append(r.Networks, netip.MustParsePrefix(s))
		}
	}
}

func TestA04A05A07A08TheDialGuardChecksEveryAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		addrs []string
		why   string
	}{
		"metadata":                   {[]string{"169.254.169.254"}, "metadata"},
		"metadata over IPv6":         {[]string{"fd00:ec2::254"}, "metadata"},
		"metadata in IPv4-mapped":    {[]string{"::ffff:169.254.169.254"}, "metadata"},
		"metadata in NAT64":          {[]string{"64:ff9b::a9fe:a9fe"}, "metadata"},
		"Alibaba metadata":           {[]string{"100.100.100.200"}, "metadata"},
		"Azure's host":               {[]string{"168.63.129.16"}, "metadata"},
		"loopback":                   {[]string{"127.0.0.1"}, "loopback"},
		"loopback elsewhere":         {[]string{"127.8.9.1"}, "loopback"},
		"loopback over IPv6":         {[]string{"::1"}, "loopback"},
		"this host":                  {[]string{"0.0.0.0"}, "this host"},
		"unspecified over IPv6":      {[]string{"::"}, "not a public"},
		"private":                    {[]string{"10.0.0.5"}, "private"},
		"private 172":                {[]string{"172.31.255.1"}, "private"},
		"private 192":                {[]string{"192.168.65.254"}, "private"},
		"private in 6to4":            {[]string{"2002:a00:5::1"}, "private"},
		"private in NAT64":           {[]string{"64:ff9b::a00:5"}, "private"},
		"NAT64 of one's own":         {[]string{"64:ff9b:1::5db8:d822"}, "not a public"},
		"ULA":                        {[]string{"fd12::1"}, "ULA"},
		"link-local":                 {[]string{"fe80::1"}, "link-local"},
		"site-local":                 {[]string{"fec0::1"}, "not a public"},
		"CGNAT":                      {[]string{"100.64.0.1"}, "CGNAT"},
		"benchmark":                  {[]string{"198.18.0.1"}, "benchmark"},
		"multicast":                  {[]string{"224.0.0.1"}, "multicast"},
		"multicast over IPv6":        {[]string{"ff02::1"}, "not a public"},
		"broadcast":                  {[]string{"255.255.255.255"}, "reserved"},
		"Teredo":                     {[]string{"2001:0:1::1"}, "Teredo"},
		"one bad among good (A08)":   {[]string{"93.184.216.34", "10.0.0.5"}, "private"},
		"one bad before good (A08)":  {[]string{"10.0.0.5", "93.184.216.34"}, "private"},
		"one metadata last (A04,08)": {[]string{"93.184.216.34", "169.254.169.254"}, "metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, standard(t))
			w.hosts["ok.test"] = nil
			for _, s := range c.addrs {
				w.hosts["ok.test"] = append(w.hosts["ok.test"], netip.MustParseAddr(s))
			}
			res, body := get(t, w.client(), "http://ok.test/")
			refused(t, res, body, c.why, "ok.test resolved to ")
			if e := w.event("denied", denied("ok.test")); e.Rule != "ok" || e.Status != 403 {
				t.Errorf("%+v", e)
			}
			if len(w.dialled) > 0 || w.ok.requests()+w.plain.requests() > 0 {
				t.Errorf("dialled %v", w.dialled)
			}
		})
	}
}

func TestA04NoRuleOpensMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{
		route(t, "named", "meta.test", plain, networks("169.254.0.0/16", "169.254.169.254/32", "0.0.0.0/0")),
		route(t, "literal", "169.254.169.254", plain),
		route(t, "up", "up.test", func(r *policy.Route) { r.Upstream = &policy.Upstream{URL: "http://169.254.169.254"} }, plain),
	})
	w.hosts["meta.test"] = []netip.Addr{netip.MustParseAddr("169.254.169.254")}
	for _, host := range []string{"meta.test", "169.254.169.254", "up.test"} {
		res, body := get(t, w.client(), "http://"+host+"/latest")
		refused(t, res, body, "metadata address, which no rule can open")
	}
	if len(w.dialled) > 0 {
		t.Errorf("dialled %v", w.dialled)
	}
}

func TestA07DeclaredNetworksOpenWhatTheyNameAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{
		route(t, "lan", "lan.test", plain, networks("10.1.0.0/16")),
		route(t, "all", "all.test", plain, networks("0.0.0.0/0", "::/0")),
		route(t, "lo", "lo.test", plain, networks("127.0.0.0/8")),
	})
	in := netip.MustParseAddr("10.1.2.3")
	w.hosts["lan.test"] = []netip.Addr{in}
	w.ports[netip.AddrPortFrom(in, 80)] = w.plain.Listener.Addr().String()
	if res, body := get(t, w.client(), "http://lan.test/"); res.StatusCode != 200 {
		t.Errorf("declared: %d %q", res.StatusCode, body)
	}
	w.mu.Lock()
	w.hosts["all.test"] = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	w.hosts["lo.test"] = []netip.Addr{netip.MustParseAddr("10.1.2.3")}
	w.mu.Unlock()
	for _, host := range []string{"all.test", "lo.test"} {
		res, body := get(t, w.client(), "http://"+host+"/")
		refused(t, res, body, host+" resolved to", "networks: [")
	}
}

func TestA08OneLookUpAndTheCheckedAddressIsTheOneDialled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t), func(c *egress.Config) {
		inner := c.Resolve
		turn := 0
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			if turn++; turn > 1 { // rebound, TTL 0
				return []netip.Addr{netip.MustParseAddr("10.0.0.5")}, nil
			}
			return inner(ctx, host)
		}
	})
	if res, _ := get(t, w.client(), "http://ok.test/"); res.StatusCode != 200 {
		t.Fatalf("first: %d", res.StatusCode)
	}
	// The plain connection is kept; TLS needs another one, and with it another look-up.
	res, body := get(t, w.client(), "https://ok.test/")
	refused(t, res, body, "ok.test resolved to 10.0.0.5")
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dialled) != 1 || w.dialled[0] != netip.AddrPortFrom(okAddr, 80) {
		t.Errorf("dialled %v", w.dialled)
	}
}

func TestA19UpstreamsMustProveWhoTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, append(standard(t), route(t, "liar", "liar.test")), func(c *egress.Config) { c.Roots = pool(newAuthority(t)) })
	res, body := get(t, w.client(), "https://ok.test/")
	if res.StatusCode != http.StatusBadGateway || res.Header.Get("X-Claude-Bottle") != "failed" || !strings.Contains(body, "certificate is not to be trusted") {
		t.Errorf("unknown authority: %d %q", res.StatusCode, body)
	}
	e := w.event("failed", func(e audit.Event) bool { return e.Status == 502 })
	if e.Verdict != "allow" || e.Host != "ok.test" {
		t.Errorf("%+v", e)
	}
	good := newWorld(t, append(standard(t), route(t, "liar", "liar.test")))
	good.hosts["liar.test"] = []netip.Addr{okAddr} // a server without a certificate for that name
	if res, body := get(t, good.client(), "https://liar.test/"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("wrong name: %d %q", res.StatusCode, body)
	}
	if n := w.ok.requests() + good.ok.requests(); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// odd is a certificate for odd.test that signs itself, changed.
func odd(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"odd.test"}, IsCA: true, BasicConstraintsValid: true}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestA19CertificatesThatProveNothingAreNamed(t *testing.T) {
	t.Parallel()
	roots := x509.NewCertPool()
	w := newWorld(t, append(standard(t), route(t, "odd", "odd.test")), func(c *egress.Config) { c.Roots = roots })
	w.hosts["odd.test"] = []netip.Addr{okAddr}
	for words, change := range map[string]func(*x509.Certificate){
		"expired":           func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) },
		"not yet valid":     func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
		"not odd.test":      func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} },
		"unknown authority": func(*x509.Certificate) {},
	} {
		cert := odd(t, change)
		if words != "unknown authority" {
			roots.AddCert(cert.Leaf)
		}
		server := &capture{}
		server.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { server.note(r) }))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		server.StartTLS()
		t.Cleanup(server.Close)
		w.mu.Lock()
		w.ports[netip.AddrPortFrom(okAddr, 443)] = server.Listener.Addr().String()
		w.mu.Unlock()
		res, body := get(t, w.client(), "https://odd.test/")
		if res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "its certificate is not to be trusted") || !strings.Contains(body, words) {
			t.Errorf("%s: %d %q", words, res.StatusCode, body)
		}
		if server.requests() > 0 {
			t.Errorf("%s: a request was sent", words)
		}
	}
}

func TestUpstreamsAreDialledInsteadOfTheHost(t *testing.T) {
	t.Parallel()
	var w *world
	gatewayCA := newAuthority(t)
	gate := &world{t: t, pki: gatewayCA}
	server := gate.serve(true, "gateway.test", "localhost")
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	w = newWorld(t, []policy.Route{route(t, "llm", "llm.test", auth(policy.SchemeAPIKey), func(r *policy.Route) {
		r.Upstream = &policy.Upstream{URL: "https://localhost:" + port, CA: string(gatewayCA.PEM())}
	})})
	w.hosts["localhost"] = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	res, body := do(t, w.client(), "GET", "https://llm.test/v1?x=1", http.Header{"Authorization": {"Bearer " + placeholder}})
	if res.StatusCode != 200 || body != "GET localhost:"+port+" /v1?x=1 HTTP/2.0 0" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if seen := server.text(); !strings.Contains(seen, "X-Api-Key: "+realKey) || strings.Contains(seen, placeholder) || strings.Contains(seen, "Authorization") {
		t.Errorf("the gateway saw:\n%s", seen)
	}
}

func TestUpstreamFailuresAreToldInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, append(standard(t), route(t, "gone", "gone.test", plain)))
	res, body := get(t, w.client(), "http://gone.test/")
	if res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "its name can't be resolved") || !strings.Contains(body, "the upstream failed") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}
