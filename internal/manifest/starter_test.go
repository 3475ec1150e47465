package manifest

import (
	"strings"
	"testing"
)

// What the starter's bottle offers in comments is accepted once uncommented.
func TestTheStartersOffersAreValid(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for line := range strings.Lines(string(Starter()["bottles/default.md"])) {
		if rest, ok := strings.CutPrefix(line, "# "); ok && (rest[0] == ' ' || strings.HasSuffix(rest, ":\n")) {
			line = rest
		}
		out.WriteString(line)
	}
	f := parse(mustName(t), KindBottle, "default.md", []byte(out.String()), nil)
	if err := joined(f.errs); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if f.layer.routes == nil || len(*f.layer.routes) == 0 {
		t.Error("it offers no rules")
	}
}
