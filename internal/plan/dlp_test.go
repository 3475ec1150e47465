package plan_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// shapes is a host whose only file is the operator's credential shapes.
func shapes(text string, set ...string) plan.Host {
	h := host(set...)
	h.ReadFile = func(path string) ([]byte, error) {
		if path != "/home/me/shapes.toml" {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return []byte(text), nil
	}
	return h
}

const ownShapes = "[[rules]]\nid = \"acme\"\nregex = \"acme_[a-z0-9]{20}\"\nkeywords = [\"acme_\"]\n"

func TestScanningIsPlanned(t *testing.T) {
	t.Parallel()
	m := frontmatters("", `
env: {DB_PASSWORD: "${DB_PASSWORD}", API_KEY: "${API_KEY}", EDITOR: "${EDITOR}"}
egress:
  allow: [npm, {github: {repos: [acme/app], auth: {token_ref: FORGE}}}]
  routes:
    - {host: api.anthropic.com, dlp: {budget: 1GiB, injection: block}}
    - {host: docs.example.org, dlp: {outbound_on_match: redact}}
    - {host: pinned.example.org, passthrough: true}
dlp: {secrets: [DB_PASSWORD, FORGE], rules: ~/shapes.toml, inbound_detectors: [echo]}`)
	p := build(t, m, plan.Request{}, shapes(ownShapes, oauth, "DB_PASSWORD=x", "FORGE=x", "API_KEY=x", "EDITOR=x"))
	same(t, "dlp", p.DLP, plan.DLP{Secrets: []string{"DB_PASSWORD", "FORGE"}, Rules: ownShapes, Canary: true})
	var held []string
	for _, s := range p.Secrets {
		held = append(held, s.Name+" in the bottle as "+s.As)
		if (s.As == "") != (s.Placeholder == "") {
			t.Errorf("%+v", s)
		}
	}
	same(t, "secrets", held, []string{"CLAUDE_CODE_OAUTH_TOKEN in the bottle as CLAUDE_CODE_OAUTH_TOKEN", "FORGE in the bottle as FORGE", "DB_PASSWORD in the bottle as "})
	same(t, "placeholders", len(p.Placeholders()), 2)

	arrives := []policy.Detector{policy.Injection, policy.Invisible}
	scans := map[string]policy.Scan{}
	for _, r := range p.Routes {
		scans[r.Host.String()] = r.Scan
	}
	same(t, "the provider's", scans["api.anthropic.com"], policy.Scan{Model: true, Budget: 1 << 30, Injection: policy.Enforce, Off: arrives})
	same(t, "a capability's", scans["registry.npmjs.org"], policy.Scan{Off: arrives})
	same(t, "a rule's own", scans["docs.example.org"], policy.Scan{OnMatch: policy.Redact, Off: arrives})
	same(t, "what nobody sees", scans["pinned.example.org"], policy.Scan{})
	same(t, "notes", notes(p, plan.Info), []string{
		"the limit on pids is not enforced here: no pids controller is delegated to you",
		"bottles/b.md:3:38: API_KEY looks like a credential, and the bottle gets its value: nothing looks for it in what leaves => dlp: {secrets: [API_KEY]}",
	})
}

func TestScanningThatCannotBe(t *testing.T) {
	t.Parallel()
	p := build(t, frontmatters("", "dlp: {secrets: [ABSENT], outbound_on_match: supervise}"), plan.Request{}, host(oauth))
	same(t, "stops", notes(p, plan.Stop), []string{
		"bottles/b.md:2:45: dlp.outbound_on_match: supervise is understood, but this version can't enforce it, so it refuses to launch instead of ignoring it => remove it from bottles/b.md or choose another bottle",
		"bottles/b.md:2:17: dlp.secrets names ABSENT, which is not set => export ABSENT=..., or remove it from dlp.secrets",
	})
	for text, want := range map[string]string{
		"": "is empty", "\xff": "not a UTF-8 text", strings.Repeat("#", 1<<20+1): "is larger than 1024 KiB",
	} {
		_, err := plan.Build(frontmatters("", "dlp: {rules: ~/shapes.toml}"), plan.Request{Agent: "worker"}, shapes(text, oauth))
		if err == nil || !strings.Contains(err.Error(), "bottles/b.md:2:14: dlp.rules") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if _, err := plan.Build(frontmatters("", "dlp: {rules: /nowhere}"), plan.Request{Agent: "worker"}, shapes("x", oauth)); err == nil {
		t.Error("a file that is not there is accepted")
	}
}

func TestCapabilitiesOfTheProgram(t *testing.T) {
	t.Parallel()
	p := build(t, frontmatters("", "egress: {allow: [anthropic, openai]}"), plan.Request{}, host(oauth, "OPENAI_API_KEY=x"))
	if len(p.Routes) != 2 || p.Routes[0].Auth.Ref != "CLAUDE_CODE_OAUTH_TOKEN" || p.Routes[1].Auth.Ref != "OPENAI_API_KEY" || len(notes(p, plan.Warn)) != 0 {
		t.Errorf("%+v %v", p.Routes, notes(p, plan.Warn))
	}
	same(t, "said", notes(p, plan.Info)[1], `bottles/b.md:2:18: the claude provider brings "anthropic: inference" itself, with its own credential`)
	// C11: without a key of the operator's own there is no such rule at all.
	p = build(t, frontmatters("", "agent_provider: {template: shell}\negress: {allow: [anthropic]}"), plan.Request{}, host())
	same(t, "stops", notes(p, plan.Stop), []string{"bottles/b.md:3:18: the rule for api.anthropic.com injects ANTHROPIC_API_KEY, which is not set => export ANTHROPIC_API_KEY=..."})
}

func TestRulesOfABottleAlone(t *testing.T) {
	t.Parallel()
	m := frontmatters("", "egress: {routes: [{host: api.anthropic.com, passthrough: true}, {host: a.example.org, auth: {scheme: Bearer, token_ref: ABSENT}}]}")
	e, err := m.EffectiveBottle("b")
	if err != nil {
		t.Fatal(err)
	}
	r, err := plan.RulesOf(e, host())
	if err != nil || len(r.Routes) != 2 || len(r.Moot) != 1 || r.Moot[0].Problem != policy.Overruled {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := m.EffectiveBottle("c"); err == nil {
		t.Error("there is no such bottle")
	}
}
