package plan

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/provider"
)

// provider resolves the agent program, finds its credential and puts its own rules first.
func (b *builder) provider() {
	p := b.effective.Provider
	t, err := provider.Get(p.Template)
	if err != nil {
		b.fail(p.At, "agent_provider.template", "", "%s", err)
		return
	}
	b.template = t
	b.plan.Provider = Provider{Template: t.Name(), Command: slices.Clone(p.Command)}
	if b.request.Headless && b.request.Prompt == "" && len(t.Credentials()) > 0 {
		b.errs = append(b.errs, fmt.Errorf("a headless %s needs a prompt: give it one with --prompt", t.Name()))
	}
	b.plan.Routes = t.Routes(b.providerAuth(p))
}

// providerAuth finds the credential of the agent program: the variable the manifest names, else the
// first of the program's own variables that is set, else the first stored login. It returns nil
// for a program that takes none.
func (b *builder) providerAuth(p manifest.Provider) *policy.Auth {
	all := b.template.Credentials()
	if len(all) == 0 {
		return nil
	}
	name := b.template.Name()
	if p.AuthToken != "" {
		// The variable's name tells the kind when it is one of the program's; else the preferred
		// kind is assumed.
		c := all[0]
		if i := slices.IndexFunc(all, func(c provider.Credential) bool { return c.Env == p.AuthToken }); i >= 0 {
			c = all[i]
		}
		if !b.host.has(p.AuthToken) {
			b.note(Stop, "export "+p.AuthToken+"=...", "%s: agent_provider.auth_token names %s, which is not set", p.AuthTokenAt, p.AuthToken)
		}
		return b.providerSecret(c, Secret{Name: p.AuthToken, Env: p.AuthToken, At: p.AuthTokenAt.String()})
	}
	for _, c := range all {
		if b.host.has(c.Env) {
			return b.providerSecret(c, Secret{Name: c.Env, Env: c.Env})
		}
	}
	for _, c := range all {
		if slices.Contains(b.host.Logins, c.Login) {
			return b.providerSecret(c, Secret{Name: "login:" + c.Login, Login: c.Login})
		}
	}
	b.note(Stop, "claude-bottle login "+name, "there is no credential for %s: %s is not set and no login is stored", name, all[0].Env)
	return b.providerSecret(all[0], Secret{Name: all[0].Env, Env: all[0].Env})
}

func (b *builder) providerSecret(c provider.Credential, s Secret) *policy.Auth {
	s.As = c.Env
	s.Placeholder = b.template.Placeholder(c, b.random())
	b.plan.Secrets = append(b.plan.Secrets, s)
	b.plan.Provider.Auth = s.Name
	return &policy.Auth{Scheme: c.Scheme, Ref: s.Name, Placeholder: s.Placeholder}
}

// routeAuth resolves the credential a rule names. With a key of Amazon's the bottle holds placeholders of
// all that belongs to it, and its requests show the one of the ID.
func (b *builder) routeAuth(r manifest.Route) *policy.Auth {
	auth := *r.Auth
	auth.Placeholder = b.routeSecret(r, auth.Ref)
	if auth.KeyID != "" {
		auth.Placeholder = b.routeSecret(r, auth.KeyID)
	}
	if auth.Session != "" && !b.host.has(auth.Session) {
		auth.Session = "" // a key that needs none
	}
	if auth.Session != "" {
		b.routeSecret(r, auth.Session)
	}
	return &auth
}

// routeSecret returns the placeholder of a credential a rule names, one for each distinct name.
func (b *builder) routeSecret(r manifest.Route, name string) string {
	if i := slices.IndexFunc(b.plan.Secrets, func(s Secret) bool { return s.Name == name }); i >= 0 {
		return b.plan.Secrets[i].Placeholder
	}
	if !b.host.has(name) {
		b.note(Stop, "export "+name+"=...", "%s: the rule for %s injects %s, which is not set", r.TokenAt, r.Host, name)
	}
	s := Secret{Name: name, Env: name, As: name, Placeholder: "bottle-placeholder-" + b.random(), At: r.TokenAt.String()}
	if i := slices.IndexFunc(b.plan.Secrets, func(o Secret) bool { return o.As == s.As }); i >= 0 {
		b.fail(r.TokenAt, "token_ref", "name another host variable",
			"%s is where the bottle holds the placeholder of %s already", name, b.plan.Secrets[i].Name)
	}
	b.plan.Secrets = append(b.plan.Secrets, s)
	return s.Placeholder
}

// random returns 24 letters and digits that nobody can guess.
func (b *builder) random() string {
	var raw [12]byte
	if _, err := io.ReadFull(b.host.Random, raw[:]); err != nil {
		b.errs = append(b.errs, fmt.Errorf("make a placeholder: %w", err))
	}
	return hex.EncodeToString(raw[:])
}
