package plan

import (
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/provider"
)

// env resolves where variables come from. A variable that would carry a credential into the bottle
// is refused: the bottle gets its placeholder.
func (b *builder) env() {
	for _, v := range b.effective.Env {
		field := "env." + v.Name
		if i := slices.IndexFunc(b.plan.Secrets, func(s Secret) bool { return s.As == v.Name }); i >= 0 {
			b.fail(v.At, field, "remove this entry", "%s holds the placeholder of a credential that is injected outside the bottle", v.Name)
			continue
		}
		if v.Kind == manifest.EnvHost && b.isCredential(v.Value) {
			b.fail(v.At, field, "give an egress rule auth: {scheme, token_ref: "+v.Value+"} and it is injected outside",
				"%s is a credential, and no credential goes into a bottle", v.Value)
			continue
		}
		e := Env{Name: v.Name, Value: v.Value, At: v.At.String()}
		switch v.Kind {
		case manifest.EnvLiteral:
			e.Source = EnvLiteral
		case manifest.EnvHost:
			e.Source = EnvHost
			if !b.isSet(v.Value) {
				b.note(Stop, "export "+v.Value+"=...", "%s: %s copies the host's %s, which is not set", v.At, v.Name, v.Value)
			} else if namesCredential(v.Value) && !slices.Contains(b.plan.DLP.Secrets, v.Value) {
				b.note(Info, "dlp: {secrets: ["+v.Value+"]}", "%s: %s looks like a credential, and the bottle gets its value: nothing looks for it in what leaves", v.At, v.Value)
			}
		case manifest.EnvPrompt:
			e.Source = EnvPrompt
			if b.request.Headless {
				b.note(Stop, "export "+v.Name+"=... and write ${"+v.Name+"} in its place",
					"%s: %s is asked for on the terminal, and a headless run has nobody to ask", v.At, v.Name)
			}
		}
		b.plan.Env = append(b.plan.Env, e)
	}
}

// namesCredential reports whether a variable's name is that of a credential, mostly.
func namesCredential(name string) bool {
	words := strings.Split(strings.ToUpper(name), "_")
	return slices.ContainsFunc(words, func(w string) bool {
		return slices.Contains([]string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "CREDENTIAL", "CREDENTIALS"}, w)
	}) || words[len(words)-1] == "KEY"
}

// isSet reports whether the host has a variable; an empty one counts, since it may be meant.
func (b *builder) isSet(name string) bool {
	if b.host.LookupEnv == nil {
		return false
	}
	_, ok := b.host.LookupEnv(name)
	return ok
}

// isCredential reports whether a host variable holds a credential as far as can be known: one of
// this plan's, or one of any provider's usual ones.
func (b *builder) isCredential(name string) bool {
	if slices.ContainsFunc(b.plan.Secrets, func(s Secret) bool { return s.Env == name && s.Placeholder != "" }) {
		return true
	}
	for _, template := range provider.Names() {
		t, err := provider.Get(template)
		if err != nil {
			continue // Names lists what Get knows
		}
		if slices.ContainsFunc(t.Credentials(), func(c provider.Credential) bool { return c.Env == name }) {
			return true
		}
	}
	return false
}
