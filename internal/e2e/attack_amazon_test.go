//go:build linux

package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/standin"
)

// What a program in a bottle signs with the worthless key that it has is signed anew with the operator's,
// of which nothing is in the bottle.
func TestD09Amazon(t *testing.T) {
	t.Parallel()
	const host = "amazon.sink.test"
	key := standin.AWSKey{ID: "AKIDE2EREALREALREAL1", Secret: secret.New("e2e/real+key/of/the/operators/own/00001"), Session: secret.New("e2e/session/of/the/operators/own/0000001==")}
	world.sites.serve(t, host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = key.Check(r, body, time.Now())
		}
		if err != nil {
			http.Error(w, "SignatureDoesNotMatch: "+err.Error(), http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintf(w, "kept %s as %s of %s\n", body, r.URL.Path, r.Header.Get("X-Amz-Security-Token")) // a client that left does not read it
	}))
	h := newHome(t)
	h.env["AWS_ACCESS_KEY_ID"], h.env["AWS_SECRET_ACCESS_KEY"], h.env["AWS_SESSION_TOKEN"] = key.ID, key.Secret.Reveal(), key.Session.Reveal()
	h.manifest(t, "bottles/attack.md", `agent_provider: {template: shell, command: [/workspace/evil, loop]}
egress:
  routes:
    - host: `+host+`
      matches: [{methods: [POST], paths: [{type: prefix, value: /builds}]}]
      auth: {scheme: aws-sigv4, token_ref: AWS_SECRET_ACCESS_KEY}`)
	b := h.bottle(t)
	const signed = `set -f; curl -sS $0 --aws-sigv4 aws:amz:eu-central-1:s3 --user "$1:$AWS_SECRET_ACCESS_KEY" -H "X-Amz-Security-Token: $AWS_SESSION_TOKEN" --data-binary "$2" https://` + host
	mine := strings.TrimSpace(b.do(t, "/bin/sh", "-c", "echo $AWS_ACCESS_KEY_ID").Stdout)
	for _, w := range ways {
		if o := b.do(t, "/bin/sh", "-c", signed+"/builds/1", w.curl, mine, "noon"); !strings.HasPrefix(o.Stdout, "kept noon as /builds/1 of ***") {
			t.Errorf("%s: %+v", w.name, o)
		}
		for what, o := range map[string]outcome{
			"matches none of them":                     b.do(t, "/bin/sh", "-c", signed+"/secrets", w.curl, mine, "noon"),
			"signed with another key":                  b.do(t, "/bin/sh", "-c", signed+"/builds/2", w.curl, "AKIDOFTHEATTACKER000", "noon"),
			"carries the secret AWS_SECRET_ACCESS_KEY": b.do(t, "/bin/sh", "-c", signed+"/builds/3", w.curl, mine, key.Secret.Reveal()),
		} {
			if !strings.Contains(o.Stdout, what) {
				t.Errorf("%s: want %q: %+v", w.name, what, o)
			}
		}
	}
	inside := b.do(t, "/bin/sh", "-c", "env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'").Stdout
	for _, value := range []string{key.ID, key.Secret.Reveal(), key.Session.Reveal()} {
		if disguised(inside, value) {
			t.Errorf("%s is in the bottle:\n%s", value, inside)
		}
		nowhere(t, h.path("state"), value)
	}
}
