//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/standin"
)

// withoutProxy takes the hints away that lead programs to the proxy.
const withoutProxy = "env -u HTTP_PROXY -u HTTPS_PROXY -u http_proxy -u https_proxy "

// chores is what the model has a real agent do, each with what must stand in its output. Together
// they are a day's work: files, git, and every kind of client.
func chores(variable string) (commands, proofs []string) {
	add := func(command, proof string) {
		commands, proofs = append(commands, command), append(proofs, proof)
	}
	add("echo chore-$((40+2)) in $PWD as $(id -un)", "chore-42 in /workspace as agent")
	// An agent program may keep its credential from its commands; whatever it holds itself is looked at.
	add("cat /proc/[0-9]*/environ ~/.claude.json ~/.codex/auth.json 2>/dev/null | tr '\\0' '\\n' | grep -a "+variable, "placeholder")
	add(`mkdir -p src && printf 'made inside\n' >src/made.txt && chmod 750 src/made.txt && ls src`, "made.txt")
	add(`git init -q . && git add -A && git commit -qm 'from the bottle' && git log -1 --format='%an <%ae>: %s'`, gitName+" <"+gitEmail+">: from the bottle")
	add("cat ~/.*/skills/bottling/SKILL.md", skillText)
	for i, env := range []string{"", withoutProxy} {
		path := fmt.Sprintf("/chore/%s%d/", variable, i)
		add(env+"curl -sS https://ok.test"+path+"curl", "good GET ok.test "+path+"curl")
		add(env+"curl -sS http://ok.test"+path+"plain", "good GET ok.test "+path+"plain")
		add(env+`node -e 'fetch("https://ok.test`+path+`node").then(r => r.text()).then(console.log)'`, "good GET ok.test "+path+"node")
		add(env+`/usr/bin/python3 -c 'import urllib.request as u; print(u.urlopen("https://ok.test`+path+`python").read().decode())'`, "good GET ok.test "+path+"python")
	}
	add("getent hosts ok.test", "ok.test")
	add("curl -sS https://unlisted.test/ || curl -sS http://unlisted.test/", "claude-bottle: denied")
	return commands, proofs
}

// Real agents do real work in a bottle, with either kind of credential; the model's API sees the
// real one, the bottle never does.
func TestRealAgents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		template string
		cred     int
		variable string
	}{
		"claude with an OAuth token": {"claude", 0, "CLAUDE_CODE_OAUTH_TOKEN"},
		"claude with an API key":     {"claude", 1, "ANTHROPIC_API_KEY"},
		"codex":                      {"codex", 0, "OPENAI_API_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			commands, proofs := chores(c.variable)
			const last = "Every chore is done."
			g := newGenius(t, c.template, c.cred, func(c standin.Conversation) standin.Turn {
				if c.Step == 0 {
					return standin.Turn{Text: "To work.", Commands: commands}
				}
				return standin.Turn{Text: last}
			})
			r := g.home.run(t, "run", "genius", "--prompt", "Do your chores.", "--label", "chores")
			if r.code != 0 || !strings.Contains(r.out, last) {
				t.Fatal(r)
			}
			told := g.told()
			if len(told) != len(commands) {
				t.Fatalf("%d results of %d commands: %q", len(told), len(commands), told)
			}
			for i, proof := range proofs {
				if !strings.Contains(told[i], proof) {
					t.Errorf("%s\nshould say %q and says\n%s", commands[i], proof, told[i])
				}
			}
			for _, text := range append(told, r.out, r.errors) {
				if strings.Contains(text, g.token) {
					t.Errorf("the real credential was seen in %q", text)
				}
			}
			g.credentials(t)
			g.instructed(t)
			nowhere(t, g.home.path("state"), g.token)
			madeInside(t, g.home)
		})
	}
}

// madeInside checks that the operator finds what the agent made, and owns it.
func madeInside(t *testing.T, h *home) {
	t.Helper()
	found, err := filepath.Glob(h.path("state/*/workspace/src/made.txt"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the agent's file: %v, %v", found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil || string(b) != "made inside\n" {
		t.Errorf("%q, %v", b, err)
	}
	fi, err := os.Lstat(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if uid := fi.Sys().(*syscall.Stat_t).Uid; int(uid) != os.Geteuid() || fi.Mode().Perm() != 0o750 {
		t.Errorf("%s is uid %d's, %v", found[0], uid, fi.Mode())
	}
}
