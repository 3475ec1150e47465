package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLastIsTheLastWholeLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if _, err := Last(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a log: %v", err)
	}
	one, two := `{"v":1,"seq":1,"host":"one.test"}`+"\n", `{"v":1,"seq":2,"host":"two.test"}`+"\n"
	for text, host := range map[string]string{
		"": "", `{"v":1,"seq":1,"host":"half`: "", one: "one.test", one + two: "two.test",
		one + two + `{"v":1,"seq":3,"ho`: "two.test", strings.Repeat(one, 20_000) + two: "two.test", "no event\n": "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := Last(path)
		if e.Host != host || (err == nil) != (host != "") {
			t.Errorf("of %d bytes the last is %q, %v, not %q", len(text), e.Host, err, host)
		}
	}
}
