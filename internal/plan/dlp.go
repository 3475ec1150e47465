package plan

import (
	"slices"
	"unicode/utf8"

	"github.com/claude-bottle/claude-bottle/internal/scan/shape"
)

// maxShapes bounds the operator's file of credential shapes, in bytes. Gitleaks' own has 150 KiB.
const maxShapes = 1 << 20

// dlp resolves what is to be looked for in all of the bottle's traffic.
func (b *builder) dlp() {
	d := b.effective.DLP
	b.plan.DLP.Canary = d.Canary
	for _, s := range d.Secrets {
		b.plan.DLP.Secrets = append(b.plan.DLP.Secrets, s.Name)
		if slices.ContainsFunc(b.plan.Secrets, func(o Secret) bool { return o.Name == s.Name }) {
			continue // injected, and so looked for anyway
		}
		if !b.host.has(s.Name) {
			b.note(Stop, "export "+s.Name+"=..., or remove it from dlp.secrets", "%s: dlp.secrets names %s, which is not set", s.At, s.Name)
		}
		b.plan.Secrets = append(b.plan.Secrets, Secret{Name: s.Name, Env: s.Name, At: s.At.String()})
	}
	if d.Rules == "" {
		return
	}
	const field, hint = "dlp.rules", "name a file in gitleaks' TOML"
	path := b.hostPath(d.Rules)
	if b.host.ReadFile == nil {
		b.fail(d.RulesAt, field, "", "%s can't be read here", path)
		return
	}
	text, err := b.host.ReadFile(path)
	switch {
	case err != nil:
		b.fail(d.RulesAt, field, hint, "%s", err)
	case len(text) > maxShapes:
		b.fail(d.RulesAt, field, hint, "%s is larger than %d KiB", path, maxShapes>>10)
	case len(text) == 0 || !utf8.Valid(text):
		b.fail(d.RulesAt, field, hint, "%s is empty, or not a UTF-8 text", path)
	default:
		if _, err := shape.Parse(text, path); err != nil {
			b.fail(d.RulesAt, field, hint, "%s", err)
			return
		}
		b.plan.DLP.Rules = string(text)
	}
}
