//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/standin"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// task is a command that a real agent runs, and what must stand in its output.
type task struct{ command, proof string }

// project is what the day's work is about.
func project(t *testing.T) map[string]string {
	t.Helper()
	noise := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a picture
	picture := image.NewNRGBA(image.Rect(0, 0, 80, 80))
	for i := range picture.Pix {
		picture.Pix[i] = byte(noise.Uint32())
	}
	picture.Set(0, 0, color.White)
	var logo bytes.Buffer
	if err := png.Encode(&logo, picture); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"package.json": `{"name": "app", "version": "1.0.0", "private": true, "scripts": {"build": "node build.js"}, "dependencies": {"semver": "*", "glob": "*", "cacache": "*", "tar": "*"}}`,
		"build.js": `const fs = require('fs'), path = require('path'), semver = require('semver')
fs.mkdirSync('dist', {recursive: true})
const all = fs.readdirSync('src').sort().map(f => fs.readFileSync(path.join('src', f), 'utf8')).join('')
fs.writeFileSync('dist/app.js', all)
console.log('built ' + semver.inc('1.2.3', 'minor') + ' of ' + all.length)
`,
		"src/a.js": "exports.a = 1\n", "src/b.js": "exports.b = 2\n", "logo.png": logo.String(),
	}
}

// routine is the work: every command's output goes into the conversation with the model.
func routine() []task {
	const in = "cd /workspace/app && "
	return []task{
		{"git clone -q https://github.com/acme/app.git /workspace/app && cd /workspace/app && git log -1 --format=%s && git fsck --full 2>&1 && echo cloned", "the first commit\ncloned"},
		{in + "npm install 2>&1 && ls node_modules && test -e node_modules/semver/package.json && echo installed", "installed"},
		{in + "rm -rf node_modules && npm ci --no-audit 2>&1 && test -e node_modules/cacache/package.json && echo again", "again"},
		{in + "npm run build && wc -c dist/app.js", "built 1.3.0 of 28\n28 dist/app.js"},
		{"env | sort; echo printed", "printed"},
		{"cp ~/.aws/credentials /workspace/kept; cat /workspace/kept", "aws_access_key_id"},
		{in + "head -c 24000 package-lock.json", `"lockfileVersion"`},
		{in + "find node_modules -name '*.js' -size +20k | sort | head -n 1 | xargs cat | tr -s ' \\n' ' ' | head -c 24000 | tee one-line.js && wc -c one-line.js", "24000 one-line.js"},
		{in + "base64 -w76 logo.png | head -n 150; base64 -w0 logo.png | head -c 12000", "iVBORw0KGgo"},
		{in + "for i in $(seq 60); do cat /proc/sys/kernel/random/uuid; done; find node_modules -type f | sort | head -n 120 | xargs sha256sum; sha512sum package-lock.json; git log --format='%H %T'; echo hashed", "hashed"},
		{"curl -sS https://registry.npmjs.org/cacache; curl -sS -H 'Accept: application/json' https://registry.npmjs.org/tar", `"integrity":"sha512-`},
	}
}

// long is as much of the conversation as makes it longer than what is looked at as a whole.
const long = 1 << 20

// A real agent's working day raises no alarm: it clones, installs, builds, and talks with its model about
// whatever it saw. What of this is secret the model never gets, and the operator sees what it cost.
func TestC16DaysWork(t *testing.T) {
	t.Parallel()
	onlyNative(t, "the other systems have no npm")
	root := t.TempDir()
	repository(t, root, "acme/app.git", project(t))
	world.sites.serve(t, "github.com", gitServer(t, root))

	work := routine()
	var commands, more []string
	for _, w := range work {
		commands = append(commands, w.command)
	}
	const each = 26000
	for i := range long/each + 2 {
		more = append(more, fmt.Sprintf("cd /workspace/app && find node_modules -name '*.js' | sort | xargs cat | tail -c +%d | head -c %d", i*each+1, each))
	}
	const last = "The day is done."
	g := newGenius(t, "claude", 1, func(c standin.Conversation) standin.Turn {
		switch c.Step {
		case 0:
			return standin.Turn{Text: "To work.", Commands: commands}
		case 1:
			return standin.Turn{Text: "Let me read all of it.", Commands: more}
		case 2:
			return standin.Turn{Text: "And once more.", Commands: []string{"printenv DB_PASSWORD; cat ~/.aws/credentials"}}
		}
		return standin.Turn{Text: last}
	})
	g.home.env["DB_PASSWORD"] = listed
	raw, err := os.ReadFile(g.home.path("bottles/genius.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(raw), "egress:\n", `env: {DB_PASSWORD: "${DB_PASSWORD}"}
dlp: {secrets: [DB_PASSWORD]}
egress:
  allow: [npm, {github: {repos: [acme/app], access: read}}]
`, 1)
	if err := os.WriteFile(g.home.path("bottles/genius.md"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := g.home.run(t, "run", "genius", "--prompt", "Do your day's work.")
	if r.code != 0 || !strings.Contains(r.out, last) {
		t.Fatal(r)
	}
	told := g.told()
	if len(told) != len(commands)+len(more)+1 {
		t.Fatalf("%d results of %d commands: %.3000q", len(told), len(commands)+len(more)+1, told)
	}
	for i, w := range work {
		if !strings.Contains(told[i], w.proof) {
			t.Errorf("%s\nshould say %q and says\n%.1500s", w.command, w.proof, told[i])
		}
	}
	for i, script := range told[len(commands) : len(told)-1] {
		if len(script) < each/2 {
			t.Errorf("piece %d of what was read came as %d bytes: %.200s", i, len(script), script)
		}
	}
	redactedInPlace(t, told[4], told[5], told[len(told)-1])
	g.credentials(t)

	e := only(t, g.home)
	discreet(t, g, told)
	harmless(t, g.home, e.ID.String())
	metered(t, g, e.ID.String())
}

// redactedInPlace checks that the model was told what stood where the secrets do.
func redactedInPlace(t *testing.T, env, file, again string) {
	t.Helper()
	const key = "(redacted:BACKUP_AWS_SECRET_ACCESS_KEY)"
	for _, c := range []struct{ text, want string }{
		{env, "BACKUP_AWS_SECRET_ACCESS_KEY=" + key}, {env, "DB_PASSWORD=(redacted:DB_PASSWORD)*"}, {env, "ANTHROPIC_API_KEY="},
		{file, "aws_secret_access_key = " + key}, {again, "aws_secret_access_key = " + key}, {again, "(redacted:DB_PASSWORD)*"},
	} {
		if !strings.Contains(c.text, c.want) {
			t.Errorf("the model was not told %q: %.3000s", c.want, c.text)
		}
	}
}

// discreet checks that the model never got a secret, in a conversation that stayed what it was.
func discreet(t *testing.T, g *genius, told []string) {
	t.Helper()
	found, err := filepath.Glob(g.home.path("state/*/workspace/kept"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the file the agent kept: %v, %v", found, err)
	}
	raw, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(raw)) // [backup] aws_access_key_id = ID aws_secret_access_key = KEY
	if len(words) != 7 || len(words[6]) != 40 {
		t.Fatalf("the canary's file: %q", raw)
	}
	longest := 0
	var all []arrival
	for _, r := range g.api.Seen() {
		body := string(r.Body)
		all = append(all, arrival{text: fmt.Sprint(r.Path, r.Query, r.Header, body)})
		size, _ := strconv.Atoi(r.Header.Get("Content-Length")) // of one in pieces 0
		longest = max(longest, size)
		// The stand-in keeps the beginning of a long one, having found all of it to be JSON: see Status.
		if size > 0 && size == len(body) && !json.Valid(r.Body) {
			t.Errorf("%s: the conversation is no JSON any more: %.500s", r.Path, body)
		}
	}
	if longest < long {
		t.Errorf("the longest conversation had %d bytes; over %d it is looked at as it passes, which is to be tested", longest, long)
	}
	for _, text := range told {
		all = append(all, arrival{text: text})
	}
	for name, v := range map[string]string{"the canary's ID": words[3], "the canary": words[6], "the listed secret": listed} {
		if holds(all, v) {
			t.Errorf("the model got %s", name)
		}
	}
}

// harmless checks that the day raised no alarm, and that nothing was taken for a secret but what is one.
func harmless(t *testing.T, h *home, id string) {
	t.Helper()
	r := h.run(t, "logs", id, "--audit", "--json")
	if r.code != 0 {
		t.Fatal(r)
	}
	var (
		cut     = map[string]int{}  // what was cut out of conversations, by name
		secrets = map[string]bool{} // the digests of what the bottle is known to hold
		hosts   = map[string]int{}
		events  []audit.Event
	)
	for line := range strings.Lines(r.out) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("audit line %q: %v", line, err)
		}
		events = append(events, e)
		if e.Kind == audit.KindRequest && e.Verdict == "allow" && e.Status == 200 {
			hosts[e.Host]++
		}
		for _, f := range e.Findings {
			if f.Kind == "canary" || f.Kind == "known" {
				secrets[f.Digest] = true
			}
		}
	}
	for _, e := range events {
		for _, f := range e.Findings {
			// Warnings change nothing. What is cut out may look like a credential too, if it is one.
			if f.Action == "redacted" && e.Host == "api.anthropic.com" && secrets[f.Digest] {
				cut[f.Name]++
			} else if f.Action != "warned" {
				t.Errorf("%s %s%s: %s: %+v", e.Method, e.Host, e.Path, e.Why, f)
			}
		}
	}
	for _, name := range []string{"BACKUP_AWS_ACCESS_KEY_ID", "BACKUP_AWS_SECRET_ACCESS_KEY", "DB_PASSWORD"} {
		if cut[name] == 0 {
			t.Errorf("the audit log does not say that %s was cut out: %v", name, cut)
		}
	}
	for _, host := range []string{"api.anthropic.com", "registry.npmjs.org", "github.com"} {
		if hosts[host] < 2 {
			t.Errorf("%d requests to %s: the work was not done", hosts[host], host)
		}
	}
	nowhere(t, h.path("state/"+id+"/"+state.AuditFile), listed)
}

// metered checks that "usage" says what the model's API reported.
func metered(t *testing.T, g *genius, id string) {
	t.Helper()
	type usageRow struct {
		Bottle string `json:"bottle"`
		usage.Row
	}
	var report struct {
		Rows  []usageRow   `json:"rows"`
		Total usage.Totals `json:"total"`
	}
	r := g.home.run(t, "usage", id, "--json")
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != 0 {
		t.Fatalf("usage: %v: %v", err, r)
	}
	var reported int64
	for _, row := range report.Rows {
		if row.Model != "" { // others are other hosts'
			reported += row.Requests
		}
	}
	var (
		answers map[string]int64
		all     int64
	)
	within(t, patience, "the model's API has written down what it answered, which it does at the end of each answer", func() bool {
		answers, all = g.answers()
		return all >= reported
	})
	table := g.home.run(t, "usage", id)
	for model, n := range answers {
		i := slices.IndexFunc(report.Rows, func(row usageRow) bool { return row.Model == model })
		// What the stand-in reports of every answer.
		if i < 0 || report.Rows[i].Bottle != id || report.Rows[i].Requests != n || report.Rows[i].Tokens.Input != 12*n || report.Rows[i].Tokens.Output != 8*n {
			t.Errorf("%d answers of %q, and usage says %v", n, model, r)
		}
		if !strings.Contains(table.out, model) {
			t.Errorf("the table lacks %q: %v", model, table)
		}
	}
	if all < 4 || report.Total.Tokens.Input != 12*all || report.Total.Tokens.Output != 8*all || report.Total.BytesOut < long || report.Total.Cost <= 0 {
		t.Errorf("%d answers in all, and usage says %+v", all, report.Total)
	}
	if table.code != 0 || !strings.Contains(table.out, id) || !strings.Contains(table.out, "$") {
		t.Errorf("usage: %v", table)
	}
}

// answers is how often each model answered so far, and all of them together.
func (g *genius) answers() (of map[string]int64, all int64) {
	of = map[string]int64{}
	for _, r := range g.api.Seen() {
		if r.Method != http.MethodPost || r.Path != "/v1/messages" {
			continue
		}
		// The model stands at the beginning, whatever is cut off.
		if m := modelName.FindSubmatch(r.Body); m != nil {
			of[string(m[1])]++
			all++
		}
	}
	return of, all
}

var modelName = regexp.MustCompile(`"model":"([^"]+)"`)
