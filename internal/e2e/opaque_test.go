//go:build linux

package e2e_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// lineScript connects to lines.test by one of the ways, without saying anything first, and prints the
// greeting and what comes back for a line.
const lineScript = `import socket, struct, sys
how, port = sys.argv[1], int(sys.argv[2])
name = b"lines.test"
if how == "transparent":
    s = socket.create_connection((name.decode(), port), 10)
else:
    s = socket.create_connection(("127.0.0.1", 3128), 10)
if how == "proxy":
    s.sendall(b"CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (name, port, name, port))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        b = s.recv(1); assert b, head
        head += b
    assert b" 200 " in head, head
if how == "socks":
    s.sendall(b"\x05\x01\x00"); assert s.recv(2) == b"\x05\x00"
    s.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack(">H", port))
    reply = s.recv(10); assert reply[1] == 0, reply
s.settimeout(10)
f = s.makefile("rb")
print(f.readline().decode().strip())
s.sendall(b"is anybody there?\n")
print(f.readline().decode().strip())
`

// A host whose TLS or bytes are carried as they are shows its own certificate and may talk first. Nobody
// looks inside, which is said beforehand and afterwards, and it is that host on that port alone.
func TestPassthroughAndTCP(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.manifest(t, "bottles/attack.md", fmt.Sprintf(`agent_provider: {template: shell, command: [/workspace/evil, loop]}
egress:
  routes:
    - {host: pinned.test, passthrough: true}
  tcp: ["lines.test:%d"]`, linesPort))
	r := h.run(t, "start", "evil", "--dry-run")
	for _, text := range []string{"pinned.test", "any request, uninspected", fmt.Sprintf("lines.test:%d", linesPort), "any bytes, uninspected"} {
		if r.code != 0 || !strings.Contains(r.out, text) {
			t.Errorf("the preflight does not say %q: %v", text, r)
		}
	}
	b := h.bottle(t)
	cert, err := pinnedCertificate()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	pin := "sha256//" + base64.StdEncoding.EncodeToString(sum[:])
	for _, w := range ways {
		path := "/pinned/" + w.name
		o := b.do(t, "/bin/sh", "-c", `set -f; curl -sS -k --pinnedpubkey "$1" $0 "https://pinned.test$2"`, w.curl, pin, path)
		if !strings.Contains(o.Stdout, "sink GET pinned.test "+path) {
			t.Errorf("pinned, %s: %+v", w.name, o)
		}
		// Nobody in between vouches for it.
		if o := b.do(t, "/bin/sh", "-c", `set -f; curl -sS $0 https://pinned.test/vouched`, w.curl); o.Code != 60 {
			t.Errorf("pinned, %s: its certificate is believed: %+v", w.name, o)
		}
		for _, elsewhere := range []string{"https://pinned.test:8443/", "http://pinned.test/", "https://lines.test/"} {
			if o := b.do(t, "/bin/sh", "-c", `set -f; curl -sS -k -m 8 $0 "$1"`, w.curl, elsewhere); strings.Contains(o.Stdout, "sink ") || strings.Contains(o.Stdout, "c2") || o.Code == 0 && !strings.Contains(o.Stdout, "claude-bottle: denied") {
				t.Errorf("%s, %s: %+v", elsewhere, w.name, o)
			}
		}
		if narrow() && w.name == "transparent" {
			continue // of other ports nothing is caught there
		}
		if o := b.do(t, "/usr/bin/python3", "-c", lineScript, w.name, fmt.Sprint(linesPort)); o.Stdout != greeting+"\nis anybody there?\n" {
			t.Errorf("lines.test, %s: %+v", w.name, o)
		}
		if o := b.do(t, "/usr/bin/python3", "-c", lineScript, w.name, fmt.Sprint(linesPort+1)); o.Code == 0 && strings.TrimSpace(o.Stdout) != "" || strings.Contains(o.Stdout, "there") {
			t.Errorf("another port of lines.test, %s: %+v", w.name, o)
		}
	}
	for host, kind := range map[string]string{"pinned.test": "TLS", "lines.test": "TCP"} {
		for _, via := range []audit.Via{audit.ViaConnect, audit.ViaTransparent, audit.ViaSOCKS} {
			if narrow() && via == audit.ViaTransparent && kind == "TCP" {
				continue
			}
			b.allowed(t, fmt.Sprintf("%s by %s", host, via), func(e audit.Event) bool {
				return e.Host == host && e.Via == via && e.Kind == audit.KindConnect && strings.Contains(e.Why, kind+" as it is, uninspected") && e.BytesIn > 0
			})
		}
	}
	b.audited(t, "another port", "", func(e audit.Event) bool { return e.Host == "lines.test" && e.Port == linesPort+1 })
	b.audited(t, "plain HTTP to the pinned host", "", func(e audit.Event) bool { return e.Host == "pinned.test" && e.Port == 80 })
}

// allowed waits for the audit log to tell of something that was let through.
func (b *sealed) allowed(t testing.TB, what string, match func(audit.Event) bool) {
	t.Helper()
	within(t, patience, "the audit log tells of "+what, func() bool {
		return slices.ContainsFunc(b.events(t), func(e audit.Event) bool { return e.Verdict == "allow" && match(e) })
	})
}
