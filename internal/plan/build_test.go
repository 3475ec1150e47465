package plan_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/provider"
)

// tree makes a file system of the text of an archive.
func tree(archive string) fs.FS {
	m := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		m[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o600}
	}
	return m
}

// frontmatters makes manifests of one agent "worker" and one bottle "b".
func frontmatters(agent, bottle string) *manifest.Manifest {
	return manifest.Load(tree("-- agents/worker.md --\n---\nbottle: b\n"+agent+"\n---\nBe brief.\n-- bottles/b.md --\n---\n"+bottle+"\n---\n"), "", nil, "")
}

// host is a machine where everything is there; set lists its variables.
func host(set ...string) plan.Host {
	return plan.Host{
		LookupEnv: func(name string) (string, bool) {
			for _, s := range set {
				if n, v, _ := strings.Cut(s, "="); n == name {
					return v, true
				}
			}
			return "", false
		},
		Backends: []backend.Facts{
			{Name: "docker", Why: "there is no docker here", Fix: "install docker"},
			{Name: "native", Ready: true, Limits: map[string]backend.Enforcement{
				"memory": {By: "cgroup v1"}, "pids": {Note: "no pids controller is delegated to you"}, "cpus": {}, "disk": {By: "meter"},
			}},
		},
		Skills:     tree("-- review/SKILL.md --\n-- deploy/SKILL.md --\n-- file --\n-- Odd/x --\n"),
		SkillsPath: "/home/me/.claude/skills",
		Home:       "/home/me",
		ReadFile: func(path string) ([]byte, error) {
			switch path {
			case "/home/me/ca.pem":
				return []byte(certificate), nil
			case "/key.pem":
				return []byte(certificate + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
		Random: rand.Reader,
	}
}

const certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

const oauth = "CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-THE-REAL-ONE"

func build(t *testing.T, m *manifest.Manifest, r plan.Request, h plan.Host) plan.Plan {
	t.Helper()
	if r.Agent == "" {
		r.Agent = "worker"
	}
	p, err := plan.Build(m, r, h)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got)\n%s", what, d)
	}
}

// notes are the plan's notes of a level, with what to type after "=>".
func notes(p plan.Plan, l plan.NoteLevel) (out []string) {
	for _, n := range p.Notes {
		if n.Level == l {
			s := n.Text
			if n.Fix != "" {
				s += " => " + n.Fix
			}
			out = append(out, s)
		}
	}
	return out
}

func TestAPlanHoldsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	m := frontmatters("skills: [review]\ngit-gate: {user: {name: Robot}}", `
env: {CI: "1", COPY: "${HOST_VALUE}", ASK: "?which"}
git-gate: {user: {email: me@example.org}}
egress: {routes: [{host: docs.python.org, matches: [{methods: [get]}]}]}
limits: {memory: 2GiB, disk: none}`)
	p := build(t, m, plan.Request{Label: "fix it", Color: "blue", Prompt: "go\non", Cwd: "/src/project/", Args: []string{"--x"}}, host(oauth, "HOST_VALUE="))
	if p.V != 1 || !strings.HasPrefix(p.ID.String(), "worker-") || p.Backend != "native" || p.Label != "fix it" || p.Color != "blue" || p.Prompt != "go\non" {
		t.Errorf("%+v", p)
	}
	same(t, "bottles", p.Bottles, []string{"b"})
	same(t, "system prompt", p.SystemPrompt, "Be brief.")
	same(t, "skills", p.Skills, []plan.Skill{{Name: "review", Source: "/home/me/.claude/skills/review"}})
	same(t, "env", p.Env, []plan.Env{
		{Name: "CI", Source: plan.EnvLiteral, Value: "1", At: "bottles/b.md:3:7"},
		{Name: "COPY", Source: plan.EnvHost, Value: "HOST_VALUE", At: "bottles/b.md:3:16"},
		{Name: "ASK", Source: plan.EnvPrompt, Value: "which", At: "bottles/b.md:3:39"},
	})
	same(t, "names", p.EnvNames(), []string{"CI", "COPY", "ASK"})
	same(t, "git", p.Git, plan.GitUser{Name: "Robot", NameFrom: "agent", Email: "me@example.org", EmailFrom: "bottle"})
	same(t, "limits", p.Limits, backend.Limits{Memory: 2 << 30, PIDs: 1024, Tmp: 1 << 30})
	same(t, "copy", p.Workspace.CopyOf, "/src/project")
	same(t, "hosts", p.Hosts(), []string{"api.anthropic.com", "docs.python.org"})
	same(t, "stops", p.Stops(), []plan.Note(nil))
	same(t, "infos", notes(p, plan.Info), []string{"the limit on pids is not enforced here: no pids controller is delegated to you"})

	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back plan.Plan
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("%v\n%s\n%s", err, text, again)
	}
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	t.Parallel()
	p := build(t, frontmatters("", ""), plan.Request{}, host(oauth))
	want := map[string]string{
		"limits.memory": manifest.Size(p.Limits.Memory).String(), "limits.disk": manifest.Size(p.Limits.Disk).String(),
		"limits.tmp": manifest.Size(p.Limits.Tmp).String(), "limits.pids": "1024", "limits.cpus": "none",
		"agent_provider.template": p.Provider.Template,
	}
	if p.Limits.PIDs != 1024 || p.Limits.CPUs != 0 {
		t.Errorf("%+v", p.Limits)
	}
	for _, k := range manifest.Keys(manifest.KindBottle) {
		if w, ok := want[k.Path]; ok && k.Default != w {
			t.Errorf("%s: the table says %q, a plan has %q", k.Path, k.Default, w)
		}
		if k.Path == "agent_provider.template" {
			same(t, "templates", k.Values, provider.Names())
		}
	}
}

func TestCredentialOfTheProvider(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		bottle   string
		set      []string
		logins   []string
		want     plan.Secret // without its placeholder
		scheme   string
		stop     string
		template string
	}{
		{"variable", "", []string{oauth}, nil, plan.Secret{Name: "CLAUDE_CODE_OAUTH_TOKEN", Env: "CLAUDE_CODE_OAUTH_TOKEN", As: "CLAUDE_CODE_OAUTH_TOKEN"}, "Bearer", "", "claude"},
		{"second variable", "", []string{"ANTHROPIC_API_KEY=x", "CLAUDE_CODE_OAUTH_TOKEN="}, []string{"claude"}, plan.Secret{Name: "ANTHROPIC_API_KEY", Env: "ANTHROPIC_API_KEY", As: "ANTHROPIC_API_KEY"}, "x-api-key", "", "claude"},
		{"login", "", nil, []string{"codex", "claude"}, plan.Secret{Name: "login:claude", Login: "claude", As: "CLAUDE_CODE_OAUTH_TOKEN"}, "Bearer", "", "claude"},
		{"login with a key", "", nil, []string{"claude-api-key"}, plan.Secret{Name: "login:claude-api-key", Login: "claude-api-key", As: "ANTHROPIC_API_KEY"}, "x-api-key", "", "claude"},
		{"named", "agent_provider: {auth_token: WORK}", []string{"WORK=x", oauth}, nil, plan.Secret{Name: "WORK", Env: "WORK", As: "CLAUDE_CODE_OAUTH_TOKEN", At: "bottles/b.md:2:30"}, "Bearer", "", "claude"},
		{"named key", "agent_provider: {auth_token: ANTHROPIC_API_KEY}", []string{"ANTHROPIC_API_KEY=x"}, nil, plan.Secret{Name: "ANTHROPIC_API_KEY", Env: "ANTHROPIC_API_KEY", As: "ANTHROPIC_API_KEY", At: "bottles/b.md:2:30"}, "x-api-key", "", "claude"},
		{"named, not set", "agent_provider: {auth_token: WORK}", []string{oauth}, []string{"claude"}, plan.Secret{Name: "WORK", Env: "WORK", As: "CLAUDE_CODE_OAUTH_TOKEN", At: "bottles/b.md:2:30"}, "Bearer",
			"bottles/b.md:2:30: agent_provider.auth_token names WORK, which is not set => export WORK=...", "claude"},
		{"none", "", nil, []string{"codex"}, plan.Secret{Name: "CLAUDE_CODE_OAUTH_TOKEN", Env: "CLAUDE_CODE_OAUTH_TOKEN", As: "CLAUDE_CODE_OAUTH_TOKEN"}, "Bearer",
			"there is no credential for claude: CLAUDE_CODE_OAUTH_TOKEN is not set and no login is stored => claude-bottle login claude", "claude"},
		{"codex", "agent_provider: {template: codex}", nil, nil, plan.Secret{Name: "OPENAI_API_KEY", Env: "OPENAI_API_KEY", As: "OPENAI_API_KEY"}, "Bearer",
			"there is no credential for codex: OPENAI_API_KEY is not set and no login is stored => claude-bottle login codex", "codex"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := host(c.set...)
			h.Logins = c.logins
			p := build(t, frontmatters("", c.bottle), plan.Request{}, h)
			if len(p.Secrets) != 1 {
				t.Fatalf("secrets: %+v", p.Secrets)
			}
			got := p.Secrets[0]
			placeholder := got.Placeholder
			got.Placeholder = ""
			same(t, "secret", got, c.want)
			same(t, "template", p.Provider.Template, c.template)
			auth := p.Routes[0].Auth
			if auth == nil || auth.Ref != c.want.Name || p.Provider.Auth != c.want.Name || auth.Scheme != c.scheme || auth.Placeholder != placeholder || len(placeholder) < 24 {
				t.Errorf("auth %+v, provider %+v", auth, p.Provider)
			}
			same(t, "held", p.Placeholders(), map[string]string{c.want.As: placeholder})
			same(t, "stops", strings.Join(notes(p, plan.Stop), "\n"), c.stop)
		})
	}
}

func TestTheShellNeedsNothing(t *testing.T) {
	t.Parallel()
	p := build(t, frontmatters("skills: [review]", "agent_provider: {template: shell, command: [make, test]}"), plan.Request{Headless: true}, host())
	same(t, "command", p.Provider.Command, []string{"make", "test"})
	if len(p.Secrets)+len(p.Routes)+len(p.Skills)+len(p.Stops()) > 0 {
		t.Errorf("%+v", p)
	}
	same(t, "warnings", notes(p, plan.Warn), []string{"the shell provider knows no skills: they are left out"})
}

func TestOneSecretForEachTokenRef(t *testing.T) {
	t.Parallel()
	m := frontmatters("", `
egress:
  routes:
    - {host: a.example.org, auth: {scheme: Bearer, token_ref: FORGE}}
    - {host: b.example.org, auth: {scheme: token, token_ref: FORGE}}
    - {host: c.example.org, auth: {scheme: x-api-key, token_ref: OTHER}}`)
	p := build(t, m, plan.Request{}, host(oauth, "FORGE=x"))
	var names []string
	for _, s := range p.Secrets {
		names = append(names, s.Name+" "+s.At)
	}
	same(t, "secrets", names, []string{"CLAUDE_CODE_OAUTH_TOKEN ", "FORGE bottles/b.md:5:63", "OTHER bottles/b.md:7:66"})
	r := p.Routes
	if r[1].Auth.Placeholder != r[2].Auth.Placeholder || r[1].Auth.Placeholder == r[3].Auth.Placeholder || r[1].Auth.Placeholder != p.Placeholders()["FORGE"] {
		t.Errorf("%+v %+v %+v", r[1].Auth, r[2].Auth, r[3].Auth)
	}
	same(t, "stops", notes(p, plan.Stop), []string{"bottles/b.md:7:66: the rule for c.example.org injects OTHER, which is not set => export OTHER=..."})
}

// What belongs to a key of Amazon's is found by its name, and the bottle holds a placeholder of each.
func TestAKeyOfAmazonsIsWhole(t *testing.T) {
	t.Parallel()
	m := frontmatters("", `
agent_provider: {template: shell}
egress:
  routes:
    - {host: s3.example.org, auth: {scheme: aws-sigv4, token_ref: AWS_SECRET_ACCESS_KEY}}
    - {host: b.example.org, auth: {scheme: aws-sigv4, token_ref: PROD_AWS_SECRET_ACCESS_KEY}}`)
	p := build(t, m, plan.Request{}, host("AWS_SECRET_ACCESS_KEY=s", "AWS_ACCESS_KEY_ID=i", "PROD_AWS_SECRET_ACCESS_KEY=s", "PROD_AWS_SESSION_TOKEN=t"))
	held := p.Placeholders()
	same(t, "held", slices.Sorted(maps.Keys(held)), []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PROD_AWS_ACCESS_KEY_ID", "PROD_AWS_SECRET_ACCESS_KEY", "PROD_AWS_SESSION_TOKEN",
	})
	same(t, "a key that needs no session", *p.Routes[0].Auth, policy.Auth{
		Scheme: policy.SchemeAWS, Ref: "AWS_SECRET_ACCESS_KEY", KeyID: "AWS_ACCESS_KEY_ID", Placeholder: held["AWS_ACCESS_KEY_ID"],
	})
	same(t, "a key with a session", *p.Routes[1].Auth, policy.Auth{
		Scheme: policy.SchemeAWS, Ref: "PROD_AWS_SECRET_ACCESS_KEY", KeyID: "PROD_AWS_ACCESS_KEY_ID", Session: "PROD_AWS_SESSION_TOKEN", Placeholder: held["PROD_AWS_ACCESS_KEY_ID"],
	})
	same(t, "stops", notes(p, plan.Stop), []string{
		"bottles/b.md:7:66: the rule for b.example.org injects PROD_AWS_ACCESS_KEY_ID, which is not set => export PROD_AWS_ACCESS_KEY_ID=...",
	})
}

func TestProviderRulesWinAndCanBeLedElsewhere(t *testing.T) {
	t.Parallel()
	m := frontmatters("", `
egress:
  routes:
    - host: api.anthropic.com
      upstream: {url: "https://gateway.example:8443", ca: ~/ca.pem}
      networks: [10.1.0.0/16]
      ports: [8443]
      matches: [{methods: [GET]}]
      auth: {scheme: Bearer, token_ref: STRAY}
    - host: "*.anthropic.com"`)
	p := build(t, m, plan.Request{}, host(oauth))
	same(t, "hosts", p.Hosts(), []string{"api.anthropic.com", "*.anthropic.com"})
	r := p.Routes[0]
	if r.ID != "provider:claude" || r.Auth.Ref != "CLAUDE_CODE_OAUTH_TOKEN" || r.Matches[0].Methods[0] != "POST" || len(r.Networks) != 1 || !slices.Equal(r.Ports, []uint16{8443}) {
		t.Errorf("%+v", r)
	}
	same(t, "upstream", r.Upstream, &policy.Upstream{URL: "https://gateway.example:8443", CA: certificate})
	same(t, "secrets", len(p.Secrets), 1)
	w := notes(p, plan.Warn)
	if len(w) == 0 || w[0] != "bottles/b.md:5:7: the claude provider's own rule for api.anthropic.com wins: auth and matches of this one not used; upstream, networks, ports and dlp are" {
		t.Errorf("%q", w)
	}
}

func TestWhatTheHostLacksStopsTheLaunch(t *testing.T) {
	t.Parallel()
	m := frontmatters("", `
env: {COPY: "${ABSENT}", ASK: "?"}
git-gate: {repos: {x: {url: "ssh://git@example.org/x.git"}}}
supervise: true
egress: {routes: [{host: "*.github.io"}]}`)
	p := build(t, m, plan.Request{Backend: "docker", Headless: true, Prompt: "x", Cwd: "/home"}, host(oauth))
	same(t, "stops", notes(p, plan.Stop), []string{
		"bottles/b.md:4:12: git-gate.repos is understood, but this version can't enforce it, so it refuses to launch instead of ignoring it => remove it from bottles/b.md or choose another bottle",
		"bottles/b.md:5:12: supervise is understood, but this version can't enforce it, so it refuses to launch instead of ignoring it => remove it from bottles/b.md or choose another bottle",
		"the docker backend can't run here: there is no docker here => install docker",
		"bottles/b.md:3:7: COPY copies the host's ABSENT, which is not set => export ABSENT=...",
		"bottles/b.md:3:26: ASK is asked for on the terminal, and a headless run has nobody to ask => export ASK=... and write ${ASK} in its place",
		"a copy of /home would give the bottle your whole home folder, keys and tokens included => cd into the project and start again",
	})
	if w := notes(p, plan.Warn); len(w) != 1 || !strings.HasPrefix(w[0], "bottles/b.md:6:19: over-broad rule: ") {
		t.Errorf("%q", w)
	}
}

func TestWhatTheOperatorWroteWrongIsAnError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, agent, bottle string
		request             plan.Request
		want                []string
	}{
		{"agent", "", "", plan.Request{Agent: "wroker"}, []string{`there is no agent "wroker"; did you mean "worker"? there is: worker`}},
		{"request", "", "", plan.Request{Agent: "worker", Label: "a\x1b[2J", Color: "bleu", Cwd: "src", Backend: "natve", Prompt: "a\x00"}, []string{
			`label "a\x1b[2J" must be one line of at most 60 visible characters`,
			`unknown color "bleu", did you mean "blue"?; there is: red, blue, green, yellow, purple, orange, pink, cyan`,
			"a prompt or argument can't hold a NUL character",
			`the folder to copy must be an absolute path, not "src"`,
		}},
		{"backend", "", "", plan.Request{Agent: "worker", Backend: "natve"}, []string{`unknown backend "natve", did you mean "native"?; there is: docker, native`}},
		{"headless", "", "", plan.Request{Agent: "worker", Headless: true}, []string{"a headless claude needs a prompt: give it one with --prompt"}},
		{"skills", "skills: [reviwe, file]", "", plan.Request{Agent: "worker"}, []string{
			`agents/worker.md:3:10: skills: there is no skill "reviwe" in /home/me/.claude/skills; did you mean "review"? there is: deploy, review`,
			`agents/worker.md:3:18: skills: there is no skill "file" in /home/me/.claude/skills; there is: deploy, review`,
		}},
		{"credentials as variables", "", `
env:
  KEY: ${ANTHROPIC_API_KEY}
  OPENAI_API_KEY: ${OPENAI_API_KEY}
  CLAUDE_CODE_OAUTH_TOKEN: mine
  FORGE: ${FORGE}
  OTHER: ${FORGE}
egress: {routes: [{host: a.example.org, auth: {scheme: Bearer, token_ref: FORGE}}]}`, plan.Request{Agent: "worker"}, []string{
			"bottles/b.md:4:3: env.KEY: ANTHROPIC_API_KEY is a credential, and no credential goes into a bottle; give an egress rule auth: {scheme, token_ref: ANTHROPIC_API_KEY} and it is injected outside",
			"bottles/b.md:5:3: env.OPENAI_API_KEY: OPENAI_API_KEY is a credential, and no credential goes into a bottle; give an egress rule auth: {scheme, token_ref: OPENAI_API_KEY} and it is injected outside",
			"bottles/b.md:6:3: env.CLAUDE_CODE_OAUTH_TOKEN: CLAUDE_CODE_OAUTH_TOKEN holds the placeholder of a credential that is injected outside the bottle; remove this entry",
			"bottles/b.md:7:3: env.FORGE: FORGE holds the placeholder of a credential that is injected outside the bottle; remove this entry",
			"bottles/b.md:8:3: env.OTHER: FORGE is a credential, and no credential goes into a bottle; give an egress rule auth: {scheme, token_ref: FORGE} and it is injected outside",
		}},
		{"authorities", "", `
egress:
  routes:
    - {host: a.example.org, upstream: {url: "https://g.example", ca: /absent.pem}}
    - {host: b.example.org, upstream: {url: "https://g.example", ca: /key.pem}}`, plan.Request{Agent: "worker"}, []string{
			"bottles/b.md:5:7: upstream.ca: open /absent.pem: file does not exist; name the PEM file of the gateway's authority",
			"bottles/b.md:6:7: upstream.ca: /key.pem is not a file of PEM certificates; name the PEM file of the gateway's authority, without keys",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := plan.Build(frontmatters(c.agent, c.bottle), c.request, host(oauth, "FORGE=x"))
			if err == nil {
				t.Fatal("accepted")
			}
			same(t, "errors", strings.Split(err.Error(), "\n"), c.want)
		})
	}
	if _, err := plan.Build(frontmatters("", ""), plan.Request{Agent: "x"}, host()); !errors.Is(err, manifest.ErrNotFound) {
		t.Error(err)
	}
}

func TestARepositorysAgentIsMarked(t *testing.T) {
	t.Parallel()
	home := tree("-- bottles/b.md --\n---\n---\n")
	repo := tree("-- agents/worker.md --\n---\nbottle: b\n---\n-- bottles/b.md --\n---\negress: {routes: [{host: evil.example.org}]}\n---\n")
	p := build(t, manifest.Load(home, "/h", repo, "/src/.claude-bottle"), plan.Request{}, host(oauth))
	same(t, "hosts", p.Hosts(), []string{"api.anthropic.com"})
	if i, w := notes(p, plan.Info), notes(p, plan.Warn); len(w) != 1 || !strings.Contains(w[0], "never bottles") || !slices.Contains(i, "the agent comes from this repository: /src/.claude-bottle/agents/worker.md") {
		t.Errorf("%q %q", i, w)
	}
}

func TestTheStarterPlansCleanly(t *testing.T) {
	t.Parallel()
	m := fstest.MapFS{}
	for name, b := range manifest.Starter() {
		m[name] = &fstest.MapFile{Data: b, Mode: 0o600}
	}
	h := host(oauth)
	h.Backends = []backend.Facts{{Name: "native", Ready: true}}
	p := build(t, manifest.Load(m, "", nil, ""), plan.Request{Agent: "helper"}, h)
	same(t, "notes", p.Notes, []plan.Note(nil))
	same(t, "hosts", p.Hosts(), []string{"api.anthropic.com"})
}

// TestNoCredentialIsInAPlan looks for every value the host has in everything a plan can be
// printed as.
func TestNoCredentialIsInAPlan(t *testing.T) {
	t.Parallel()
	m := frontmatters("", `
env: {COPY: "${HOST_VALUE}"}
egress: {routes: [{host: a.example.org, auth: {scheme: Bearer, token_ref: FORGE}}]}`)
	p := build(t, m, plan.Request{}, host(oauth, "FORGE=forge-THE-REAL-ONE", "HOST_VALUE=host-THE-REAL-ONE"))
	text, err := json.Marshal(p)
	if err != nil || bytes.Contains(text, []byte("THE-REAL-ONE")) {
		t.Errorf("%v %s", err, text)
	}
}

// engines is a host like any, with a container engine that is there.
func engines(set ...string) plan.Host {
	h := host(set...)
	h.Backends[0] = backend.Facts{Name: "docker", Ready: true, OwnSystem: true, Runtimes: true}
	h.Backends[0], h.Backends[1] = h.Backends[1], h.Backends[0]
	read := h.ReadFile
	h.ReadFile = func(path string) ([]byte, error) {
		if path == "/home/me/go/Dockerfile" {
			return []byte("FROM golang\n"), nil
		}
		return read(path)
	}
	return h
}

func TestSystemOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bottle, backend string
		host            plan.Host
		want            *backend.System
		on              string // the backend chosen
		stop            string
	}{
		"the host's programs": {"env: {A: b}", "", engines(), nil, "native", ""},
		"ours":                {"env: {A: b}", "docker", engines(), &backend.System{Ref: "claude-bottle:latest"}, "docker", ""},
		"a Dockerfile chooses a backend that can": {
			"agent_provider: {dockerfile: ~/go/Dockerfile}", "", engines(),
			&backend.System{Ref: "claude-bottle:latest", Dockerfile: "/home/me/go/Dockerfile"}, "docker", "",
		},
		"a base":    {"agent_provider: {base: alpine}", "", engines(), &backend.System{Ref: "claude-bottle:latest", Base: "alpine"}, "docker", ""},
		"a runtime": {"runtime: runsc", "", engines(), &backend.System{Ref: "claude-bottle:latest", Runtime: "runsc"}, "docker", ""},
		"an image that is there": {
			"agent_provider: {base: alpine}", "docker", engines("CLAUDE_BOTTLE_IMAGE=mine:1"),
			&backend.System{Ref: "mine:1", Prebuilt: true}, "docker", "",
		},
		"not where the host's programs are shown": {"agent_provider: {base: alpine}", "native", engines(), nil, "native", "agent_provider.base has no meaning on the native backend"},
		"nor where no engine is":                  {"runtime: runsc", "", host(), nil, "docker", "the docker backend can't run here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := plan.Build(frontmatters("", c.bottle+"\nlimits: {memory: 1GiB}"), plan.Request{Agent: "worker", Backend: c.backend}, c.host)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, p.System); diff != "" {
				t.Error(diff)
			}
			if p.Backend != c.on {
				t.Errorf("on %s, want %s", p.Backend, c.on)
			}
			stopped := slices.ContainsFunc(p.Notes, func(n plan.Note) bool { return n.Level == plan.Stop && strings.Contains(n.Text, c.stop) })
			if c.stop != "" && !stopped {
				t.Errorf("notes %+v, want a stop for %q", p.Notes, c.stop)
			}
		})
	}
	_, err := plan.Build(frontmatters("", "agent_provider: {dockerfile: /nowhere/Dockerfile}"), plan.Request{Agent: "worker"}, engines())
	if err == nil || !strings.Contains(err.Error(), "bottles/b.md:2:30: agent_provider.dockerfile") {
		t.Errorf("a Dockerfile that is not there: %v", err)
	}
}
