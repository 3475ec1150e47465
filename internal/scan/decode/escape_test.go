package decode

import "testing"

func TestEscapes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"%41%62", "Ab"},
		{"%2541 %25252541 %%41 %4", "A A %A %4"},
		{"%u0041", "A"},
		{`\x41\u0042\u{43}\U00000044\105`, "ABCDE"},
		{`\\u0041 \\\\n. \q`, "A \n. \\q"},
		{`\ud83d\ude00`, "\U0001F600"},
		{`\ud835\udc00`, "A"},
		{"&#65;&#x42;&#67 &amp;#68;&plus;&nosuch;", "ABC D+&nosuch;"},
		{"\uff21\uff42\u200b\u00ad!\ufeff", "Ab!"},
		{"\U0001d400\U0001d41a\U0001d7ce\U000e0041", "Aa0A"},
		{"caf\u00e9 \u4f60", "caf\u00e9 \u4f60"},
		{"&", "&"}, {"%", "%"}, {`\`, `\`}, {"&#", "&#"}, {`\u00`, `\u00`}, {"\xef", "\xef"},
	} {
		var x Text
		changed := x.Escapes([]byte(c.in))
		if string(x.Bytes) != c.want || changed != (c.in != c.want) {
			t.Errorf("%q: %q, %v; want %q", c.in, x.Bytes, changed, c.want)
		}
		checkOrigins(t, &x, len(c.in))
	}
}

func TestQuotedPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"a=42=\r\nc=": "aBc=", "x=3D1": "x=1", "a= \nb": "ab", "=G1": "=G1"} {
		var x Text
		if x.QuotedPrintable([]byte(in)); string(x.Bytes) != want {
			t.Errorf("%q: %q, want %q", in, x.Bytes, want)
		}
		checkOrigins(t, &x, len(in))
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"[72, 101, 108, 108, 111, 44, 32, 121, 111, 117]": "Hello, you",
		"{0x48,0x65,0x6c,0x6C,0x6f,0x2c,0x20,0x79}":       "Hello, y",
		"1, 2, 3":                          "",
		"2026-11-26 at 17, 300, 400, 5":    "",
		"x 72 101 108 108 111 44 32 121 y": "Hello, y",
	} {
		var x Text
		if got := x.Numbers([]byte(in)); string(x.Bytes) != want || got != (want != "") {
			t.Errorf("%q: %q, want %q", in, x.Bytes, want)
		}
		checkOrigins(t, &x, len(in))
	}
}

func TestWide(t *testing.T) {
	t.Parallel()
	for in, big := range map[string]bool{
		"H\x00e\x00l\x00l\x00o\x00!\x00":               false,
		"\x00H\x00e\x00l\x00l\x00o\x00!":               true,
		"\x28\xffe\x00l\x00\x0b\x20l\x00o\x00\x01\xff": false,
	} {
		at := 1
		if big {
			at = 0
		}
		var x Text
		if end := x.Wide([]byte(in), at, big); string(x.Bytes) != "Hello!" || end <= at {
			t.Errorf("%q: %q to %d", in, x.Bytes, end)
		}
	}
}

// checkOrigins checks that the offsets are in order and inside of the source.
func checkOrigins(t *testing.T, x *Text, size int) {
	t.Helper()
	before := 0
	for i := range x.Bytes {
		from, to := x.Source(i, i+1)
		if from < before || to < from || to > size {
			t.Fatalf("byte %d is of %d..%d, after %d, of %d bytes", i, from, to, before, size)
		}
		before = from
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`%2541\\u0041&amp;#65;=41=` + "\n[72, 0x65, 108, 108, 111, 44, 32, 121] \xef\xbc\xa1a\x00b\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		in = in[:min(len(in), MaxText)]
		var x Text
		for _, undo := range []func(*Text, []byte) bool{(*Text).Escapes, (*Text).QuotedPrintable, (*Text).Numbers} {
			undo(&x, in)
			checkOrigins(t, &x, len(in))
			if len(x.Bytes) > len(in) {
				t.Fatalf("%d bytes from %d", len(x.Bytes), len(in))
			}
		}
		checkSigns(t, in)
		for i := range min(len(in), 4) {
			x.Wide(in, i, false)
			x.Wide(in, i, true)
		}
		var scratch Scratch
		var k Kept
		k.Keep(in, Base64Digits)
		k.Shorten()
		all := Base64(nil, k.Bytes, 8)
		all = scratch.Base32(all, k.Bytes, 8)
		for _, s := range scratch.Hex(all, k.Bytes, 8) {
			d := s.Append(nil, k.Bytes)
			if len(d) == 0 {
				t.Fatalf("%+v is empty", s)
			}
			from, to := s.Source(0, len(d))
			if from < 0 || from >= to || to > len(k.Bytes) {
				t.Fatalf("%+v: %d bytes of %d..%d", s, len(d), from, to)
			}
			if at, end := k.Source(from, to); at < 0 || at >= end || end > len(in) || in[at] != k.Bytes[from] || in[end-1] != k.Bytes[to-1] {
				t.Fatalf("%d..%d of what is kept is %d..%d of %d bytes", from, to, at, end, len(in))
			}
		}
	})
}

// checkSigns checks that Signs says of a part what undoing it by itself would.
func checkSigns(t *testing.T, in []byte) {
	t.Helper()
	for from := 0; from < len(in); from += 32 {
		to := min(len(in), from+32)
		part := in[from:min(len(in), to+longestEscape)]
		var x Text
		var want Signs
		if x.Escapes(part) {
			want |= Escaped
		}
		if x.QuotedPrintable(part) {
			want |= Printed
		}
		if Turned(in, from, to, false) >= 0 {
			want |= Reversed
		}
		if Turned(in, from, to, true) >= 0 {
			want |= Rotated
		}
		for _, wanted := range []Signs{Escaped, Printed, Escaped | Printed | Reversed | Rotated} {
			if got := x.Signs(in, from, to, wanted); got != want&wanted {
				t.Fatalf("%q: %b of %b, want %b", in[from:to], got, wanted, want&wanted)
			}
		}
	}
}
