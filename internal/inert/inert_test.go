package inert

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestG01HostileTextIsShownAsVisibleEscapes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"plain":             {"GET /v1/messages", "GET /v1/messages"},
		"other scripts":     {"héllo 世界", "héllo 世界"},
		"combining":         {"e\u0301", "e\u0301"},
		"clipboard (OSC52)": {"\x1b]52;c;aGk=\a", `\x1b]52;c;aGk=\x07`},
		"second line":       {"ok\nAPPROVED", `ok\nAPPROVED`},
		"carriage return":   {"bad\rgood", `bad\rgood`},
		"8-bit CSI":         {"\u009b31m", `\x9b31m`},
		"raw C1 byte":       {"\x9b31m", `\x9b31m`},
		"right to left":     {"a\u202egnp.exe", `a\u202egnp.exe`},
		"isolate":           {"\u2066x\u2069", `\u2066x\u2069`},
		"zero width":        {"pay\u200bpal", `pay\u200bpal`},
		"byte order mark":   {"\ufeffx", `\ufeffx`},
		"line separator":    {"a\u2028b", `a\u2028b`},
		"tags":              {"x\U000e0041", `x\U000e0041`},
		"Hangul filler":     {"\u3164", `\u3164`},
		"odd space":         {"a\u00a0b", `a\xa0b`},
		"not UTF-8":         {"\xff\xfe", `\xff\xfe`},
		"delete":            {"\x7f", `\x7f`},
		"tower of marks":    {"e" + strings.Repeat("\u0301", 4), "e\u0301\u0301\u0301" + `\u0301`},
	} {
		if got := Text(c.in, 0); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestTextIsBounded(t *testing.T) {
	t.Parallel()
	if got := Text(strings.Repeat("a", 100), 10); got != "aaaaaaa…" {
		t.Errorf("cut text is %q", got)
	}
	if got := Text("aaaaaaaaaa", 10); got != "aaaaaaaaaa" {
		t.Errorf("text that fits is %q", got)
	}
	if got := Text("aaaaaaaa\x1b", 10); got != "aaaaaaa…" {
		t.Errorf("an escape that does not fit gives %q", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b[2J\u202e", 8)
	f.Add("\xff\xf0\x9f", 3)
	f.Fuzz(func(t *testing.T, s string, max int) {
		got := Text(s, max)
		bound := max
		if bound <= 0 {
			bound = DefaultMax
		}
		if len(got) > bound {
			t.Fatalf("%d bytes, want at most %d", len(got), bound)
		}
		if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q shows %q", got, r)
			}
		}
		if again := Text(got, max); again != got {
			t.Fatalf("not stable: %q, then %q", got, again)
		}
	})
}
