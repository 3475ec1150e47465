package spawn

import (
	"strings"
	"testing"
)

func TestWordsAreBounded(t *testing.T) {
	t.Parallel()
	var words Words
	w, err := words.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("panic: first\n" + strings.Repeat("more\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	words.Wait()
	if got := words.String(); !strings.HasPrefix(got, "panic: first; more") || len(got) > 2*wordsSize {
		t.Errorf("%d bytes: %.40q", len(got), got)
	}
}
