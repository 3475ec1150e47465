package install

import (
	"os"
	"strings"
	"testing"
)

func TestNPMTrustsWhatTheHostTrusts(t *testing.T) {
	t.Parallel()
	own := []string{"HOME=/h", "NODE_EXTRA_CA_CERTS=/mine.pem"}
	if got := withSystemRoots(own); len(got) != len(own) {
		t.Errorf("the operator's own choice became %q", got)
	}
	given := []string{"HOME=/h"}
	got := withSystemRoots(given)
	if len(given) != 1 {
		t.Error("the caller's environment was changed")
	}
	for _, kv := range got[1:] {
		path, ok := strings.CutPrefix(kv, "NODE_EXTRA_CA_CERTS=")
		if _, err := os.Stat(path); !ok || err != nil {
			t.Errorf("added %q: %v", kv, err)
		}
	}
}
