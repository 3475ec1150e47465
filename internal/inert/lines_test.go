package inert

import (
	"strings"
	"testing"
)

func TestLinesKeepLineEndsAndNothingElse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\nb\n":             "a\nb\n",
		"a\r\nb":             "a\nb",
		"one\x1b[2Jtwo\nend": "one\\x1b[2Jtwo\nend",
		"":                   "",
	} {
		if got := Lines(in, 0); got != want {
			t.Errorf("Lines(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Lines(strings.Repeat("line\n", 100), 20); len(got) > 20+len(ellipsis) {
		t.Errorf("bounded to 20 bytes, got %d", len(got))
	}
}
