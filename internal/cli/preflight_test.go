package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

// zeros makes IDs and placeholders the same in every run.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// facts of a host where everything holds but the limit on cores.
var testFacts = []backend.Facts{{
	Name: "native", Ready: true,
	Limits: map[string]backend.Enforcement{
		"memory": {By: "cgroup v1"}, "pids": {By: "rlimit"}, "disk": {By: "meter"}, "cpus": {Note: "no cgroup is delegated to you"},
	},
}}

// engineFacts are of a host with a container engine alone.
var engineFacts = []backend.Facts{{
	Name: "docker", Ready: true, OwnSystem: true, Runtimes: true, At: "unix:///var/run/docker.sock (default)",
	Limits: map[string]backend.Enforcement{"memory": {By: "engine"}, "pids": {By: "engine"}, "disk": {By: "meter"}},
}}

func TestPreflight(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		agent, bottle string
		request       plan.Request
		env           map[string]string
		logins        []string
		facts         []backend.Facts
	}{
		"smallest": {
			agent:  "---\nbottle: b\n---\n",
			bottle: "---\nagent_provider: {template: shell}\n---\n",
		},
		"login": {
			agent:  "---\nbottle: b\n---\nYou are helpful.\n",
			bottle: "---\nenv: {A: one}\n---\n",
			logins: []string{"claude"},
		},
		"missing_credential": {
			agent:  "---\nbottle: b\n---\n",
			bottle: "---\nenv: {A: one}\n---\n",
		},
		"image": {
			agent:   "---\nbottle: b\n---\n",
			bottle:  "---\nagent_provider: {template: shell, base: \"node:22-slim\"}\nruntime: runsc\n---\n",
			facts:   engineFacts,
			request: plan.Request{Backend: "docker"},
		},
		"prebuilt_image": {
			agent:  "---\nbottle: b\n---\n",
			bottle: "---\nagent_provider: {template: shell}\n---\n",
			facts:  engineFacts,
			env:    map[string]string{"CLAUDE_BOTTLE_IMAGE": "registry.example/team/agents:3"},
		},
		"everything": {
			agent: "---\nbottle: b\nskills: [review]\ngit-gate:\n  user: {email: coder@example.org}\n---\nYou write code.\n",
			bottle: `---
env:
  LITERAL: not shown
  COPIED: ${MINE}
  SAME: ${SAME}
  ASKED: "?your name"
git-gate:
  user: {name: Ada, email: ada@example.org}
limits: {memory: 2GiB, pids: 300, cpus: 1.5}
egress:
  routes:
    - host: api.example.org
      auth: {scheme: Bearer, token_ref: EXAMPLE_TOKEN}
      matches:
        - methods: [GET, HEAD]
          paths: [{type: prefix, value: /v1}, {type: exact, value: /status}]
        - methods: [POST]
          paths: [{type: regex, value: "/v1/items/[0-9]+"}]
    - host: "*.com"
    - host: gateway.example.org
      ports: [8443]
      upstream: {url: "http://127.0.0.1:4010"}
---
`,
			request: plan.Request{Label: "the big one", Cwd: "/src/project", Prompt: "Fix the failing test, then say which one it was and why it failed, in one line please.", Args: []string{"--model", "a b"}},
			env:     map[string]string{"MINE": "secret-mine", "SAME": "secret-same", "EXAMPLE_TOKEN": "secret-token", "ANTHROPIC_API_KEY": "secret-key"},
		},
		"capabilities": {
			agent: "---\nbottle: b\n---\n",
			bottle: `---
egress:
  allow:
    - npm
    - github: {repos: [acme/app, acme/lib], access: write, auth: {token_ref: GH_TOKEN}}
  routes:
    - host: own.example.org
      dlp: {outbound_on_match: redact, budget: 64MiB}
    - {host: pinned.example.org, passthrough: true}
  tcp: ["db.example.org:5432"]
dlp: {secrets: [DB_PASSWORD], canary: false, inbound_detectors: [echo]}
---
`,
			env: map[string]string{"GH_TOKEN": "secret-gh", "DB_PASSWORD": "secret-db", "ANTHROPIC_API_KEY": "secret-key"},
		},
		"no_backend": {
			agent:  "---\nbottle: b\n---\n",
			bottle: "---\nagent_provider: {template: shell}\n---\n",
			facts:  []backend.Facts{{Name: "native", Why: "user namespaces are switched off", Fix: "sudo sysctl -w user.max_user_namespaces=15000"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := fstest.MapFS{"agents/coder.md": {Data: []byte(tc.agent)}, "bottles/b.md": {Data: []byte(tc.bottle)}}
			a := &app{sys: &System{LookupEnv: func(k string) (string, bool) { v, ok := tc.env[k]; return v, ok }}}
			host := plan.Host{
				LookupEnv: a.sys.LookupEnv, Logins: tc.logins, Backends: testFacts, Random: zeros{}, Home: "/home/op",
				Skills: fstest.MapFS{"review/SKILL.md": {Data: []byte("x")}}, SkillsPath: "/home/op/.claude/skills",
			}
			if tc.facts != nil {
				host.Backends = tc.facts
			}
			tc.request.Agent = "coder"
			p, err := plan.Build(manifest.Load(files, "/home/op/.claude-bottle", nil, ""), tc.request, host)
			if err != nil {
				t.Fatal(err)
			}
			pf := preflight{plan: p, facts: facts(host.Backends, p.Backend), found: a.findSecrets(p)}
			var plain, painted bytes.Buffer
			pf.print(&plain, style{})
			pf.print(&painted, style{on: true})
			golden(t, filepath.Join("testdata", "preflight", name+".txt"), plain.String())
			if got := unpaint(painted.String()); got != plain.String() {
				t.Errorf("colours change the text or its layout:\n%s", cmp.Diff(plain.String(), got))
			}
			for name, value := range tc.env {
				if name == "CLAUDE_BOTTLE_IMAGE" {
					continue // a name itself
				}
				if strings.Contains(plain.String(), value) {
					t.Errorf("the value %q is shown", value)
				}
			}
			for line := range strings.Lines(plain.String()) {
				if n := visible(strings.TrimSuffix(line, "\n")); n > 100 {
					t.Errorf("a line of %d characters: %s", n, line)
				}
			}
		})
	}
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", path, d)
	}
}

// unpaint removes our own colours.
func unpaint(s string) string {
	var b strings.Builder
	for s != "" {
		if rest, ok := strings.CutPrefix(s, "\x1b["); ok {
			if _, after, ok := strings.Cut(rest, "m"); ok {
				s = after
				continue
			}
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}

// A repository's agent file, and whatever else is hostile, can't draw on the operator's terminal.
func TestPreflightIsInert(t *testing.T) {
	t.Parallel()
	evil := "\x1b]0;owned\x07\u202e\nfake: line"
	p := preflight{plan: plan.Plan{
		Label: evil, Bottles: []string{evil}, Prompt: evil, Args: []string{evil},
		Provider: plan.Provider{Template: "shell", Command: []string{evil}},
		Env:      []plan.Env{{Name: evil, Source: plan.EnvHost, Value: evil}},
		Secrets:  []plan.Secret{{Name: evil, Env: evil}},
		Skills:   []plan.Skill{{Name: evil}},
		Git:      plan.GitUser{Name: evil, NameFrom: evil, Email: evil, EmailFrom: evil},
		Notes:    []plan.Note{{Level: plan.Warn, Text: evil, Fix: evil}},
	}}
	var b bytes.Buffer
	p.print(&b, style{})
	if s := b.String(); strings.ContainsAny(s, "\x1b\x07\u202e") || strings.Contains(s, "\nfake") {
		t.Errorf("hostile text passes:\n%q", s)
	}
}
