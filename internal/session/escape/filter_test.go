package escape

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

const osc52 = "\x1b]52;c;aGVsbG8=\a"

func TestFilterPassesWhatDrawsAndDropsTheRest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"text":                      {"hello\r\n\tworld\b\a", "hello\r\n\tworld\b\a"},
		"unicode":                   {"grüße 漢字 👩‍👩‍👧 é", "grüße 漢字 👩‍👩‍👧 é"},
		"colours":                   {"\x1b[1;38;2;1;2;3mX\x1b[4:3m\x1b[0m", "\x1b[1;38;2;1;2;3mX\x1b[4:3m\x1b[0m"},
		"cursor":                    {"\x1b[2;5H\x1b[K\x1b[3A\x1b7\x1b8", "\x1b[2;5H\x1b[K\x1b[3A\x1b7\x1b8"},
		"alternate screen, spelled": {"\x1b[?47h\x1b[?1047l\x1b[?1049h", "\x1b[?1049h\x1b[?1049l\x1b[?1049h"},
		"modes, one by one":         {"\x1b[?1049;25;2004h", "\x1b[?1049h\x1b[?25h\x1b[?2004h"},
		"mouse":                     {"\x1b[?1000h\x1b[?1006h", "\x1b[?1000h\x1b[?1006h"},
		"kitty keyboard":            {"\x1b[>1u\x1b[<u\x1b[=5;1u", "\x1b[>1u\x1b[<u\x1b[=5;1u"},
		"title, made inert":         {"\x1b]0;a\u202eb\x1b]2;ok\a", "\x1b]2;ok\x1b\\"},
		"title of two kinds":        {"\x1b]0;both\a", "\x1b]2;both\x1b\\"},
		"web link":                  {"\x1b]8;id=1;https://e.org/\x1b\\x\x1b]8;;\a", "\x1b]8;id=1;https://e.org/\x1b\\x\x1b]8;;\x1b\\"},
		"link to a program":         {"\x1b]8;;vscode://x\ax", "\x1b]8;;\x1b\\x"},

		"clipboard write":              {"a" + osc52 + "b", "ab"},
		"clipboard read":               {"\x1b]52;c;?\x1b\\", ""},
		"device control string":        {"a\x1bP1$r0m\x1b\\b", "ab"},
		"tmux pass-through":            {"\x1bPtmux;\x1b\x1b]52;c;eA==\a\x1b\\z", "z"},
		"screen's title":               {"\x1bkevil\x1b\\z", "z"},
		"application program command":  {"\x1b_Gf=100;AAAA\x1b\\z", "z"},
		"privacy message":              {"\x1b^x\x1b\\\x1bXy\x1b\\z", "z"},
		"8-bit controls":               {"\x9b31mred\u009b31m", "\ufffd31mred31m"},
		"window resize and move":       {"\x1b[8;10;10t\x1b[3;0;0t\x1b[2t", ""},
		"title report":                 {"\x1b[21t", ""},
		"answerback":                   {"\x05", ""},
		"printing":                     {"\x1b[5i\x1b[?5i", ""},
		"palette":                      {"\x1b]4;1;#ff0000\a\x1b]11;#000000\a\x1b]104\a", ""},
		"notification":                 {"\x1b]9;hi\a\x1b]777;notify;a;b\a\x1b]1337;File=:AA\a", ""},
		"line feed mode":               {"\x1b[20h", ""},
		"132 columns":                  {"\x1b[?3h", ""},
		"screen checksum":              {"\x1b[1;1;1;1;1;1*y", ""},
		"leaving UTF-8":                {"\x1b%@\x1b(Kx", "x"},
		"margins":                      {"\x1b[?69h\x1b[1;5s", ""},
		"direction override":           {"a\u202eb\u2066c", "abc"},
		"controls inside a sequence":   {"\x1b[3\n1m", "\x1b[31m"},
		"escape inside a sequence":     {"\x1b[3\x1b[1m", "\x1b[1m"},
		"cancelled sequence":           {"\x1b[3\x18x", "x"},
		"huge numbers":                 {"\x1b[99999999999C\x1b[99999b", "\x1b[9999C\x1b[512b"},
		"full reset":                   {"\x1bc", hardReset},
		"endless string":               {"\x1b]0;" + strings.Repeat("x", 9000) + "\ay", "y"},
		"endless sequence":             {"\x1b[" + strings.Repeat("1;", 9000) + "my", "y"},
		"combining flood":              {"e" + strings.Repeat("\u0301", 99), "e" + strings.Repeat("\u0301", maxChain)},
		"unfinished":                   {"a\x1b[3", "a"},
		"unfinished character":         {"a\xe6\xbc", "a"},
		"broken character in two":      {"\xf0\x9fb", "\ufffd\ufffdb"},
		"broken character, then ASCII": {"\xe6b", "\ufffdb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var whole Filter
			if got := string(whole.Append(nil, []byte(c.in))); got != c.want {
				t.Errorf("whole: got %q, want %q", got, c.want)
			}
			var split Filter
			var got []byte
			for i := range len(c.in) {
				got = split.Append(got, []byte{c.in[i]})
			}
			if string(got) != c.want {
				t.Errorf("byte by byte: got %q, want %q", got, c.want)
			}
		})
	}
}

func TestQuestionsAreToldApart(t *testing.T) {
	t.Parallel()
	for _, q := range []string{
		"\x1b[c", "\x1b[>c", "\x1b[>0q", "\x1b[6n", "\x1b[5n", "\x1b[?6n", "\x1b[?996n", "\x1b[18t", "\x1b[14t",
		"\x1b[?u", "\x1b[?4m", "\x1b[?2026$p", "\x1b]11;?\x1b\\", "\x1b]4;1;?\x1b\\",
	} {
		var f Filter
		out := f.Append(nil, []byte("a"+q+"b"))
		if string(out) != "a"+q+"b" {
			t.Errorf("%q does not pass: %q", q, out)
		}
		if quiet := Quiet(out, f.Queries()); string(quiet) != "ab" {
			t.Errorf("%q is asked quietly: %q", q, quiet)
		}
	}
}

func TestScrollRegionStaysOnTheScreen(t *testing.T) {
	t.Parallel()
	f := Filter{Rows: 24}
	if got := string(f.Append(nil, []byte("\x1b[2;99r\x1b[r\x1b[2;9r"))); got != "\x1b[2;24r\x1b[r\x1b[2;9r" {
		t.Errorf("got %q", got)
	}
}

// forbidden are beginnings that never may come out of a filter.
var forbidden = []string{"\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x1bk", "\x1b]5", "\x1b]9", "\x1b]7", "\x1b%", "\x1bc", "\x05", "\u009b", "\x1b[21t", "\x1b[?3h"}

func FuzzFilter(f *testing.F) {
	f.Add([]byte("a\x1b[1;2H\x1b]0;t\a\x1bPq\x1b\\漢"), 3)
	f.Add([]byte(osc52+"\x1bPtmux;\x1b\x1b[c\x1b\\\xe6\xbc"), 1)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if len(in) > 0 {
			cut = max(0, cut) % (len(in) + 1)
		} else {
			cut = 0
		}
		var whole, split Filter
		want := whole.Append(nil, in)
		got := split.Append(nil, in[:cut])
		got = split.Append(got, in[cut:])
		if !bytes.Equal(got, want) {
			t.Fatalf("cut at %d: %q, whole: %q", cut, got, want)
		}
		if !utf8.Valid(want) {
			t.Fatalf("not UTF-8: %q", want)
		}
		for _, bad := range forbidden {
			if bytes.Contains(want, []byte(bad)) {
				t.Fatalf("%q lets %q through: %q", in, bad, want)
			}
		}
		if len(want) > len(hardReset)*len(in) {
			t.Fatalf("%d bytes became %d", len(in), len(want))
		}
		// What a filter lets through, a filter lets through.
		var again Filter
		if twice := again.Append(nil, want); !bytes.Equal(twice, want) {
			t.Fatalf("%q filtered again is %q", want, twice)
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	for name, in := range map[string]string{
		"plain":   strings.Repeat("the quick brown fox jumps over the lazy dog\r\n", 700),
		"colours": strings.Repeat("\x1b[38;2;10;20;30mfox\x1b[0m jumps \x1b[3;4H─│", 700),
	} {
		b.Run(name, func(b *testing.B) {
			var f Filter
			var out []byte
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				out = f.Append(out[:0], []byte(in))
			}
		})
	}
}
