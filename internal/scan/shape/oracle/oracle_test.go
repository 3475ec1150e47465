package oracle

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/logging"
	"github.com/zricethezav/gitleaks/v8/regexp"

	"github.com/claude-bottle/claude-bottle/internal/scan/shape"
)

// grouped is gitleaks' allowance for "true", "false" and "null" as it was meant.
const ungrouped, grouped = `(?i)^true|false|null$`, `(?i)^(?:true|false|null)$`

// detector returns gitleaks' detector with what makes it blind on purpose switched off.
var detector = sync.OnceValue(func() *detect.Detector {
	logging.Logger = zerolog.Nop()
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		panic(err)
	}
	d.IgnoreGitleaksAllow = true
	for _, a := range d.Config.Allowlists {
		fixed := *a
		fixed.Regexes = nil
		for _, re := range a.Regexes {
			if re.String() == ungrouped {
				re = regexp.MustCompile(grouped)
			}
			fixed.Regexes = append(fixed.Regexes, re)
		}
		again := config.Allowlist{Regexes: fixed.Regexes, StopWords: fixed.StopWords}
		if err := again.Validate(); err != nil {
			panic(err)
		}
		*a = again
	}
	return d
})

var goSum = regexp.MustCompile(`\bh1:[A-Za-z0-9+/]{43}=`)

type finding struct{ rule, match, secret string }

// parts are the rules of which gitleaks reports a part of the credential as the secret; we report it all.
var parts = map[string]bool{"microsoft-teams-webhook": true, "jwt-base64": true}

func theirs(text []byte) []finding {
	var all []finding
	for _, f := range detector().DetectBytes(text) {
		if parts[f.RuleID] {
			f.Secret = f.Match
		}
		all = append(all, finding{f.RuleID, f.Match, f.Secret})
	}
	return sorted(all)
}

// ours are our findings by gitleaks' rules, and those by our own.
func ours(text []byte) (same, own []finding) {
	for _, m := range shape.Default().Find(nil, text) {
		f := finding{m.Rule, string(text[m.Start:m.End]), string(text[m.SecretStart:m.SecretEnd])}
		if _, ok := detector().Config.Rules[m.Rule]; ok {
			same = append(same, f)
		} else {
			own = append(own, f)
		}
	}
	return sorted(same), own
}

func sorted(all []finding) []finding {
	slices.SortFunc(all, func(a, b finding) int {
		return cmp.Or(strings.Compare(a.rule, b.rule), strings.Compare(a.match, b.match), strings.Compare(a.secret, b.secret))
	})
	return all
}

// compare returns how the two sets of findings of one text differ, without what is explained.
func compare(text []byte) (missing, extra []string, common int) {
	a := theirs(text)
	b, own := ours(text)
	count := map[finding]int{}
	for _, f := range b {
		count[f]++
	}
	for _, f := range a {
		if count[f] > 0 {
			count[f]--
			common++
			continue
		}
		why := explained(f, own, text)
		reasons[why]++
		if why == "" {
			missing = append(missing, fmt.Sprintf("%s: %q, secret %q", f.rule, f.match, f.secret))
		}
	}
	for f, n := range count {
		for range n {
			extra = append(extra, fmt.Sprintf("%s: %q, secret %q", f.rule, f.match, f.secret))
		}
	}
	return missing, extra, common
}

// explained says why a finding of gitleaks' is rightly none of ours, or "".
func explained(f finding, own []finding, text []byte) string {
	for _, o := range own {
		if strings.Contains(strings.ToLower(f.rule), "generic") && strings.Contains(o.secret, f.secret) {
			return "a rule of ours says it better"
		}
	}
	if goSum.MatchString(f.match) {
		return "a checksum of a go.sum, which gitleaks skips by the file's name"
	}
	if len(f.match) > shape.MaxWindow {
		return "longer than MaxWindow"
	}
	if strings.ContainsAny(f.match, "\u017f\u212a") || !utf8.Valid(text) && strings.ContainsRune(f.match, utf8.RuneError) {
		return "a long s or a Kelvin sign in a name"
	}
	return ""
}

func walk(t testing.TB, root string, each func(path string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(text) < 2<<20 {
			each(path, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func gitleaksDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/zricethezav/gitleaks/v8").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func goroot(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestSameRuleSet(t *testing.T) {
	theirs, err := os.ReadFile(filepath.Join(gitleaksDir(t), "config", "gitleaks.toml"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("../rules/gitleaks.toml")
	if err != nil {
		t.Fatal(err)
	}
	if string(theirs) != string(ours) {
		t.Error("rules/gitleaks.toml is not the file of the gitleaks version that this module requires")
	}
}

func compareTree(t *testing.T, root string) {
	total := 0
	shown := 0
	walk(t, root, func(path string, text []byte) {
		missing, extra, common := compare(text)
		total += common
		for _, m := range missing {
			if shown++; shown < 40 {
				t.Errorf("%s: missing %.300s", path, m)
			}
		}
		for _, e := range extra {
			if shown++; shown < 40 {
				t.Errorf("%s: extra %.300s", path, e)
			}
		}
	})
	t.Logf("%d findings in common, %d differences; explained so far: %v", total, shown, reasons)
	if total == 0 {
		t.Error("nothing was found at all")
	}
}

// reasons counts the explanations given.
var reasons = map[string]int{}

func TestGitleaksTree(t *testing.T) { compareTree(t, gitleaksDir(t)) }
func TestStandardLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("gitleaks takes a minute for it")
	}
	compareTree(t, filepath.Join(goroot(t), "src"))
}
