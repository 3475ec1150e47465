package egress

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/claude-bottle/claude-bottle/internal/egress/authority"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

func testEngine(t testing.TB) *Engine {
	t.Helper()
	a, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var routes []policy.Route
	for _, s := range []string{"ok.test", "*.wild.test"} {
		h, err := policy.ParseHost(s)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, policy.Route{ID: s, Host: h})
	}
	p, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Policy: p, Authority: a, Control: Control{Host: "bottle.internal"}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestMalformedQueriesAreDroppedOrToldSo(t *testing.T) {
	t.Parallel()
	e := testEngine(t)
	name := dnsmessage.MustNewName("ok.test.")
	q := dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	pack := func(m dnsmessage.Message) []byte {
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	chaos := q
	chaos.Class = dnsmessage.ClassCHAOS
	for what, c := range map[string]struct {
		query []byte
		code  dnsmessage.RCode
		drop  bool
	}{
		"empty":         {nil, 0, true},
		"short header":  {[]byte{1, 2, 3}, 0, true},
		"a response":    {pack(dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Questions: []dnsmessage.Question{q}}), 0, true},
		"no question":   {pack(dnsmessage.Message{}), dnsmessage.RCodeFormatError, false},
		"two questions": {pack(dnsmessage.Message{Questions: []dnsmessage.Question{q, q}}), dnsmessage.RCodeFormatError, false},
		"cut question":  {pack(dnsmessage.Message{Questions: []dnsmessage.Question{q}})[:16], dnsmessage.RCodeFormatError, false},
		"other class":   {pack(dnsmessage.Message{Questions: []dnsmessage.Question{chaos}}), dnsmessage.RCodeNotImplemented, false},
		"an update":     {pack(dnsmessage.Message{Header: dnsmessage.Header{OpCode: 5}, Questions: []dnsmessage.Question{q}}), dnsmessage.RCodeNotImplemented, false},
	} {
		got := e.answer(c.query, nil)
		if c.drop {
			if len(got) > 0 {
				t.Errorf("%s: answered %x", what, got)
			}
			continue
		}
		var m dnsmessage.Message
		if err := m.Unpack(got); err != nil || m.RCode != c.code || len(m.Answers) > 0 {
			t.Errorf("%s: %+v, %v", what, m, err)
		}
	}
}

func TestNamesAreBoundedAndAddressesNotReusedAtOnce(t *testing.T) {
	t.Parallel()
	n := newNames(wire.NamePool(false))
	first, fresh := n.addr("first.test")
	if !fresh {
		t.Error("a new name is not new")
	}
	used := map[netip.Addr]bool{first: true}
	for i := range maxNames + 10 {
		a, _ := n.addr(fmt.Sprintf("n%d.test", i))
		if used[a] || !n.pool.Contains(a) {
			t.Fatalf("address %s again", a)
		}
		used[a] = true
	}
	if _, ok := n.owner(first); ok {
		t.Error("the least recently used name is still there")
	}
	if len(n.byName) != maxNames || len(n.byAddr) != maxNames || n.recent.Len() != maxNames {
		t.Errorf("%d names, %d addresses", len(n.byName), len(n.byAddr))
	}
	again, fresh := n.addr("first.test")
	if !fresh || used[again] {
		t.Errorf("after it was forgotten: %s, new %v", again, fresh)
	}
	if owner, ok := n.owner(again); !ok || owner != "first.test" {
		t.Errorf("owner %q", owner)
	}
}

func TestAuthoritiesAreParsedStrictly(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"ok.test:443": "ok.test 443", "[::1]:443": "::1 443", "ok.test": "ok.test 80", "[::1]": "[::1] 80",
		"": "", ":443": "", "ok.test:": "", "ok.test:0": "", "ok.test:65536": "", "ok.test:+443": "", "ok.test:4 3": "",
		"a@ok.test:443": "", "ok.test/x:443": "", "::1:443": "", "[::1:443": "", "ok.test:443:443": "", "ok%2etest:443": "",
	} {
		host, port, ok := splitAuthority(s, 80)
		got := ""
		if ok {
			got = fmt.Sprint(host, " ", port)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func FuzzDNS(f *testing.F) {
	e := testEngine(f)
	for _, name := range []string{"ok.test.", "c2.test.", "a.wild.test."} {
		m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
		b, _ := m.Pack()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		out := e.answer(query, nil)
		if len(out) == 0 {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(out); err != nil || !m.Response || len(m.Answers) > 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		for _, a := range m.Answers {
			name := strings.ToLower(strings.TrimSuffix(a.Header.Name.String(), "."))
			if name != "ok.test" && name != "bottle.internal" && !strings.HasSuffix(name, ".wild.test") {
				t.Fatalf("answered for %q", name)
			}
		}
	})
}

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x07ok.test\x01\xbb"))
	f.Add([]byte("\x05\x02\x00\x02\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x0fc2.test\x00.ok.test\x01\xbb"))
	e := testEngine(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		pipe := readWriter{bytes.NewReader(in), new(bytes.Buffer)}
		if greetSOCKS(pipe) != nil {
			return
		}
		req, code, err := readSOCKS(pipe)
		if (err == nil) != (code == socksOK) {
			t.Fatalf("code %d with error %v", code, err)
		}
		if err != nil {
			return
		}
		if req.host == "" || req.port == 0 {
			t.Fatalf("%+v", req)
		}
		name, err := e.target(req.host)
		if err == nil && e.reach(name, req.port).Allowed() && name != "ok.test" && name != "bottle.internal" && !strings.HasSuffix(name, ".wild.test") {
			t.Fatalf("reaches %q", name)
		}
	})
}

type readWriter struct {
	*bytes.Reader
	out *bytes.Buffer
}

func (r readWriter) Write(p []byte) (int, error) { return r.out.Write(p) }

func FuzzSplitAuthority(f *testing.F) {
	f.Add("ok.test:443")
	f.Add("[::1]:80")
	f.Fuzz(func(t *testing.T, s string) {
		host, port, ok := splitAuthority(s, 80)
		if !ok {
			return
		}
		if port == 0 || host == "" || strings.ContainsAny(host, "@/?# \r\n\x00%") {
			t.Fatalf("%q gives %q %d", s, host, port)
		}
	})
}

func TestWithoutKeys(t *testing.T) {
	t.Parallel()
	if got := withoutKeys([]string{"realtime, openai-insecure-api-key.sk-x, v1"}); !slices.Equal(got, []string{"realtime, v1"}) {
		t.Errorf("%q", got)
	}
	if got := withoutKeys([]string{"Api-Key.x"}); got != nil {
		t.Errorf("%q", got)
	}
}
