package manifest_test

import (
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"host", "ports", "matches", "upstream"}
	for word, want := range map[string]string{
		"hots": "host", "HOST": "host", "port": "ports", "mathces": "matches", "upstraem": "upstream",
		"": "", "x": "", "elephant": "", "hhhh": "",
	} {
		if got := manifest.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]manifest.Size{
		"4GiB": 4 << 30, "512MiB": 512 << 20, "1.5GiB": 3 << 29, "2 TiB": 2 << 40, "1024KiB": 1 << 20, "none": 0,
	} {
		if got, err := manifest.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "4", "4G", "4GB", "4gib", "-1GiB", "1e9GiB", "GiB", "1..5GiB", "0MiB", "99999999999TiB", "None", "0x10MiB", "infGiB", "nanGiB"} {
		if got, err := manifest.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
	for size, want := range map[manifest.Size]string{0: "none", 4 << 30: "4GiB", 3 << 29: "1536MiB", 1<<20 + 1: "1048577B"} {
		if got := size.String(); got != want {
			t.Errorf("%d is %q, want %q", size, got, want)
		}
	}
}
