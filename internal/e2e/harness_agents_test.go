//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/standin"
)

// genius is a real agent program in a home of its own, whose model is a stand-in in the world.
type genius struct {
	home  *home
	api   *standin.API
	cred  provider.Credential
	token string // the real credential

	mu      sync.Mutex
	results []string
}

// The identity that the manifest gives to git.
const gitName, gitEmail = "Ada Lovelace", "ada@example.org"

// What the program and its model are to be told.
const (
	systemPrompt = "Every wish is an unmistakable command."
	skillAbout   = "How unmistakable bottles are filled."
	skillText    = "First fill, then cork."
)

// newGenius lays out the agent "genius" with the program of that template and its cred-th kind of
// credential. The model answers by script, and Results are kept.
func newGenius(t *testing.T, template string, cred int, script standin.Script) *genius {
	t.Helper()
	tmpl, err := provider.Get(template)
	if err != nil {
		t.Fatal(err)
	}
	g := &genius{home: newHome(t), cred: tmpl.Credentials()[cred], token: fmt.Sprintf("e2e-real-%s-%d-8c11f0a7d2", template, cred)}
	g.api = standin.New(standin.Config{
		Keys: []standin.Key{{Scheme: g.cred.Scheme, Value: secret.New(g.token)}},
		Script: func(c standin.Conversation) standin.Turn {
			g.mu.Lock()
			g.results = append(g.results, c.Results...)
			g.mu.Unlock()
			return script(c)
		},
		Keep: 1000,
	})
	srv, err := g.api.Start(standin.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	host := tmpl.Routes(nil)[0].Host
	if err := os.WriteFile(g.home.path("model.pem"), []byte(srv.CA), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.home.write("agents/genius.md", "bottle: genius\nskills: [bottling]\ngit-gate: {user: {email: "+gitEmail+"}}", systemPrompt),
		g.home.write("user/.claude/skills/bottling/SKILL.md", "name: bottling\ndescription: "+skillAbout, skillText)); err != nil {
		t.Fatal(err)
	}
	g.home.manifest(t, "bottles/genius.md", fmt.Sprintf(`agent_provider: {template: %s}
git-gate: {user: {name: %s, email: overlaid@example.org}}
egress:
  routes:
    - host: %s
      upstream: {url: %q, ca: %q}
    - host: ok.test
      plain: true`, template, gitName, host, srv.URL, g.home.path("model.pem")))
	g.home.env["PATH"] = programsBin + ":" + os.Getenv("PATH")
	g.home.env[g.cred.Env] = g.token
	return g
}

// told are the outputs of the commands so far.
func (g *genius) told() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.results...)
}

// credentials checks which one the model's API saw: the real one, on every request.
func (g *genius) credentials(t *testing.T) {
	t.Helper()
	seen := g.api.Seen()
	if len(seen) == 0 {
		t.Error("the model's API was never asked")
	}
	for _, r := range seen {
		if r.Scheme != g.cred.Scheme || r.Credential.Reveal() != g.token || r.Status != 200 {
			t.Errorf("%s %s came with a %q credential (the right one: %v) and was answered with %d", r.Method, r.Path, r.Scheme, r.Credential.Reveal() == g.token, r.Status)
		}
		if strings.Contains(string(r.Body), g.token) || strings.Contains(fmt.Sprint(r.Header), "placeholder") {
			t.Errorf("%s %s: the credential in the body, or the placeholder in the header", r.Method, r.Path)
		}
	}
}

// instructed checks that the model was given the agent's system prompt and its skill.
func (g *genius) instructed(t *testing.T) {
	t.Helper()
	for _, text := range []string{systemPrompt, skillAbout} {
		if !slices.ContainsFunc(g.api.Seen(), func(r standin.Request) bool { return strings.Contains(string(r.Body), text) }) {
			t.Errorf("the model was never told %q", text)
		}
	}
}

// nowhere checks that no file below dir holds text.
func nowhere(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			t.Errorf("%s holds %q", path, text)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
