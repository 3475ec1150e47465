//go:build linux

package e2e_test

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// echo tells whoever asks what came with the request, as services for testing do, in the form that the
// path names.
func echo(w http.ResponseWriter, r *http.Request) {
	cred := r.Header.Get("Authorization")
	form := strings.TrimPrefix(r.URL.Path, "/echo/")
	var body io.Writer = w
	switch form {
	case "header":
		w.Header().Set("X-You-Sent", cred)
	case "cookie":
		http.SetCookie(w, &http.Cookie{Name: "last", Value: strings.TrimPrefix(cred, "Bearer ")})
	case "status":
		w.WriteHeader(http.StatusTeapot)
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer func() { _ = z.Close() }() // a client that left does not read it
		body = z
	case "base64":
		cred = base64.StdEncoding.EncodeToString([]byte(cred))
	case "pieces":
		for i := range cred {
			_, _ = io.WriteString(w, cred[i:i+1]) // as above
			_ = http.NewResponseController(w).Flush()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(body).Encode(map[string]any{"form": form, "headers": map[string]string{"authorization": cred}, "padding": strings.Repeat("x", 5000)}) // as above
}

// An upstream that says the injected credential back says it to nobody in the bottle.
func TestC09Echo(t *testing.T) {
	t.Parallel()
	world.sites.serve(t, "echo.test", http.HandlerFunc(echo))
	h := newHome(t)
	h.manifest(t, "bottles/attack.md", `agent_provider: {template: shell, command: [/workspace/evil, loop]}
egress:
  routes:
    - host: echo.test
      auth: {scheme: Bearer, token_ref: E2E_TOKEN}`)
	b := h.bottle(t)
	mine := placeholder(t, b)
	for _, form := range []string{"header", "cookie", "status", "json", "gzip", "base64", "pieces"} {
		for _, w := range ways {
			o := b.do(t, "/bin/sh", "-c", "set -f; curl -sS -i --compressed $0 -H \"Authorization: Bearer $1\" https://echo.test/echo/"+form, w.curl, mine)
			if !strings.Contains(o.Stdout, `"form":"`+form+`"`) {
				t.Errorf("%s, %s: the answer did not come: %+v", form, w.name, o)
			}
			if disguised(o.Stdout, parts(tokenSecret)...) {
				t.Errorf("%s, %s: the credential came back: %.700s", form, w.name, o.Stdout)
			}
		}
		// The twin: it was there to be said.
		if n := len(world.sites.arrived("/echo/" + form)); n != len(ways) || !holds(world.sites.arrived("/echo/"+form), tokenSecret) {
			t.Errorf("%s: %d requests arrived, the credential with them: %v", form, n, holds(world.sites.arrived("/echo/"+form), tokenSecret))
		}
	}
	want := 5 * len(ways) // what is in the head of an answer is no finding
	within(t, patience, fmt.Sprintf("the audit log tells of %d echoes", want), func() bool {
		masked := 0
		for _, e := range b.events(t) {
			for _, f := range e.Findings {
				if f.Kind == "echo" && f.Action == "redacted" && f.Where == "the answer" {
					masked++
				}
			}
		}
		return masked >= want
	})
	searchFiles(t, b.dir)
}

// What a bottle may do at a service is said as capabilities, and what is not said is denied by name, to
// hosts that are allowed as much as to others.
func TestC13Capabilities(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.manifest(t, "bottles/attack.md", `agent_provider: {template: shell, command: [/workspace/evil, loop]}
egress:
  allow: [npm, {github: {repos: [acme/app], access: read}}]`)
	b := h.bottle(t)
	const npm, api, hub = "https://registry.npmjs.org", "https://api.github.com", "https://github.com"
	graphql := func(query string) []string {
		body, _ := json.Marshal(map[string]string{"query": query}) // strings marshal
		return []string{"-X", "POST", "-H", "Content-Type: application/json", "-d", string(body), api + "/graphql"}
	}
	for _, c := range []struct {
		args []string
		cap  string // the capability that a denial names; empty where it is allowed
	}{
		{args: []string{npm + "/semver"}},
		{args: []string{"-X", "PUT", "-d", `{"name":"left-pad"}`, npm + "/left-pad"}, cap: "npm: read"},
		{args: []string{"-X", "POST", "-d", `{"left-pad":["1.3.0"]}`, npm + "/-/npm/v1/security/advisories/bulk"}, cap: "npm: read"},
		{args: []string{"-X", "DELETE", npm + "/left-pad/-rev/1"}, cap: "npm: read"},
		{args: []string{api + "/repos/acme/app/issues?state=open"}},
		{args: []string{api + "/repos/acme/app/contents/README.md"}},
		{args: []string{api + "/repos/acme/apple"}, cap: "github: read acme/app"},
		{args: []string{api + "/repos/mallory/drop/issues"}, cap: "github: read acme/app"},
		{args: []string{api + "/repos/acme/app/../../mallory/drop"}, cap: "github: read acme/app"},
		{args: []string{"-X", "PUT", "-d", `{"content":"c2VjcmV0"}`, api + "/repos/acme/app/contents/x"}, cap: "github: read acme/app"},
		{args: []string{"-X", "POST", "-d", `{"body":"a note"}`, api + "/repos/acme/app/issues/1/comments"}, cap: "github: read acme/app"},
		{args: []string{"-X", "POST", "-d", `{"files":{"a":{"content":"b"}}}`, api + "/gists"}, cap: "github: read acme/app"},
		{args: []string{"-X", "POST", api + "/repos/acme/app/forks"}, cap: "github: read acme/app"},
		{args: graphql(`query { repository(owner: "acme", name: "app") { stargazerCount } }`)},
		{args: graphql(`{ viewer { login } }`)},
		{args: graphql(`mutation { createIssue(input: {repositoryId: "R_1", title: "a note"}) { issue { id } } }`), cap: "github: read acme/app"},
		{args: graphql(`query A { viewer { login } } mutation B { addStar(input: {starrableId: "R_1"}) { clientMutationId } }`), cap: "github: read acme/app"},
		{args: []string{hub + "/acme/app.git/info/refs?service=git-upload-pack"}},
		{args: []string{hub + "/mallory/drop.git/info/refs?service=git-upload-pack"}, cap: "github: read acme/app"},
		{args: []string{"-X", "POST", "-d", "0000", hub + "/acme/app.git/git-receive-pack"}, cap: "github: read acme/app"},
	} {
		for _, via := range []string{"connect", "direct", "socks"} {
			url := c.args[len(c.args)-1]
			tag := fmt.Sprintf("%s %q", via, c.args)
			a := b.http(t, append([]string{"-via", via, "-H", "X-From: " + b.id}, c.args...)...)
			if c.cap == "" {
				if a.Status != 200 || a.Marker != "" {
					t.Errorf("%s: %+v", tag, a)
				}
				continue
			}
			refused(t, a, c.cap)
			if t.Failed() {
				t.Logf("%s", tag)
			}
			if bare, _, _ := strings.Cut(url, "?"); c.args[0] != "-X" && len(world.sites.arrived(bare[strings.Index(bare[8:], "/")+8:])) > 0 {
				t.Errorf("%s arrived", tag)
			}
		}
	}
	// Nothing that would change anything arrived.
	for _, got := range world.sites.from(b.id) {
		if method, _, _ := strings.Cut(got.text, " "); method != http.MethodGet && (got.path != "/graphql" || strings.Contains(got.text, "mutation")) {
			t.Errorf("it arrived: %q", got.text)
		}
	}
	b.audited(t, "a gist", "github", func(e audit.Event) bool {
		return e.Host == "api.github.com" && e.Path == "/gists" && e.Method == "POST"
	})
	b.audited(t, "a publication", "npm", func(e audit.Event) bool { return e.Host == "registry.npmjs.org" && e.Method == "PUT" })
	if r := h.run(t, "start", "evil", "--dry-run"); r.code != 0 || !strings.Contains(r.out, "npm") || !strings.Contains(r.out, "github") || !strings.Contains(r.out, "acme/app") {
		t.Errorf("the preflight does not name the capabilities: %v", r)
	}
}
