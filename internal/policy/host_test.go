package policy

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestHostsHaveOneSpelling(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ok.test": "ok.test", "OK.Test": "ok.test", "ok.test.": "ok.test", "*.ok.test": "*.ok.test", "*.OK.test.": "*.ok.test",
		"localhost": "localhost", "xn--bcher-kva.test": "xn--bcher-kva.test", "3com.test": "3com.test", "1.2.3.test": "1.2.3.test",
		"10.0.0.1": "10.0.0.1", "[::1]": "::1", "::1": "::1", "2001:DB8::1": "2001:db8::1", "0x.example": "0x.example",
	} {
		h, err := ParseHost(in)
		if err != nil || h.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, h, err, want)
		}
	}
}

func TestA02A03A11A12HostTricksAreRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", ".", "..", "*", "*.", "**.ok.test", "a*.ok.test", "ok.*", "*.*.test", "*.10.0.0.1",
		"ok..test", ".ok.test", "ok.test..", "-ok.test", "ok-.test", "ok_.test", "ok test", "ok.test/", "a@ok.test", "ok.test:443",
		"c2.test\x00.ok.test", "ok.test\n", "ok.test\r\nX: y", "ok%2etest", "ök.test", "оk.test", "ok\u3002test", "ok.te\u200bst",
		"0x7f000001", "0177.0.0.1", "2130706433", "127.1", "0", "127.0.0.1.", "1.2.3.4.5", "256.0.0.1", "0x7f.1", "1.0x", "a.0X7f", "01.2.3.4",
		"[127.0.0.1]", "::ffff:127.0.0.1", "::ffff:7f00:1", "fe80::1%eth0", "[::1", "0:0:0:0:0:0:0:1", "[::1]:80", ":::",
		strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "test",
	} {
		if h, err := ParseHost(in); err == nil {
			t.Errorf("%q became %q", in, h)
		} else if strings.ContainsAny(err.Error(), "\x00\n\r\u200b") {
			t.Errorf("%q: the error is not inert: %q", in, err)
		}
	}
}

func TestHostMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host, name string
		want       bool
	}{
		{"ok.test", "ok.test", true},
		{"ok.test", "OK.test.", true},
		{"ok.test", "a.ok.test", false},
		{"ok.test", "okxtest", false},
		{"*.ok.test", "a.ok.test", true},
		{"*.ok.test", "a.b.ok.test", true},
		{"*.ok.test", "ok.test", false},
		{"*.ok.test", "evil-ok.test", false},
		{"*.ok.test", "a.ok.test.c2.test", false},
		{"*.ok.test", ".ok.test", false},
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "0x0a000001", false},
		{"::1", "[::1]", true},
	} {
		h, err := ParseHost(c.host)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Match(c.name); got != c.want {
			t.Errorf("%s matches %s: %v", c.host, c.name, got)
		}
	}
	if (Host{}).Match("") {
		t.Error("the zero Host matches")
	}
}

func TestHostsSurviveJSON(t *testing.T) {
	t.Parallel()
	r := Route{ID: "x", Host: host(t, "*.ok.test")}
	b, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(b), `"host":"*.ok.test"`) {
		t.Fatalf("%s, %v", b, err)
	}
	var back Route
	if err := json.Unmarshal(b, &back); err != nil || back.Host != r.Host {
		t.Errorf("%+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"host":"127.1"}`), &back); err == nil {
		t.Error("a bad host was read")
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"ok.test", "*.ok.test", "10.0.0.1", "[::1]", "0x7f.1", "a\x00.b", "OK.test."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			return
		}
		again, err := ParseHost(h.String())
		if err != nil || again != h {
			t.Fatalf("%q became %q became %q, %v", s, h, again, err)
		}
		for i := range len(h.name) {
			if c := h.name[i]; !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-.", rune(c)) && (c != ':' || !h.ip) {
				t.Fatalf("%q holds %q", h, h.name[i])
			}
		}
		if !h.wild && !h.Match(s) {
			t.Fatalf("%q does not match itself", s)
		}
	})
}
