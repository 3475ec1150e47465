//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
)

// placeholder is what the bottle holds in the place of the token.
func placeholder(t *testing.T, b *sealed) string {
	t.Helper()
	o := b.do(t, "/usr/bin/env")
	for line := range strings.Lines(o.Stdout) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "E2E_TOKEN="); ok && v != "" {
			return v
		}
	}
	t.Fatalf("the bottle holds no placeholder: %+v", o)
	return ""
}

func TestD01NoSecretInside(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	b := h.bottle(t)
	// The twin: the credential is in use, injected outside.
	b.works(t, "-via", "connect", "-H", "Authorization: Bearer "+placeholder(t, b), "https://llm.test/v1/d01")
	if world.good.requests("llm.test /v1/d01 Bearer "+tokenSecret) != 1 {
		t.Error("the credential was not injected, so its absence inside means nothing")
	}
	roots := []string{"/etc", "/home", "/workspace", "/tmp", "/run", "/var", "/dev/shm"}
	twin := evil[finding](t, b, append([]string{"find", planted}, roots...)...)
	if !slices.ContainsFunc(twin.Hits, func(s string) bool { return strings.HasPrefix(s, "/proc/") && strings.HasSuffix(s, "/environ") }) || twin.Files < 50 {
		t.Errorf("the search can't see: %+v", twin)
	}
	for _, secret := range []string{tokenSecret, hostSecret, "PRIVATE KEY"} {
		f := evil[finding](t, b, append([]string{"find", secret}, roots...)...)
		// Its own command line holds what it looks for.
		hits := slices.DeleteFunc(f.Hits, func(s string) bool { return strings.HasSuffix(s, "/cmdline") })
		if len(hits) > 0 {
			t.Errorf("%s is inside: %v", secret, hits)
		}
	}
	// Other hosts don't get the credential, nor does anybody without the placeholder.
	refused(t, b.http(t, "-via", "connect", "-H", "Authorization: Bearer "+placeholder(t, b), "https://deep.wild.test/d01"), "placeholder")
	refused(t, b.http(t, "-via", "connect", "-H", "Authorization: Bearer attacker", "https://llm.test/v1/d01"), "placeholder")
	hostSearch(t, h, b)
}

// hostSearch looks for the secrets where they could be on the host: argument lists, environments,
// and every file of the bottle.
func hostSearch(t *testing.T, h *home, b *sealed) {
	t.Helper()
	processes := append(corks(b.id, b.warden), process{pid: b.warden}, process{pid: b.cmd.Process.Pid})
	for _, p := range processes {
		for _, file := range []string{"cmdline", "environ"} {
			raw, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/" + file)
			if err != nil && os.Geteuid() == 0 {
				t.Errorf("process %d: %v", p.pid, err)
			}
			if p.pid == b.cmd.Process.Pid && file == "environ" {
				continue // the operator's own shell gave it to the command
			}
			for _, secret := range []string{tokenSecret, hostSecret} {
				if bytes.Contains(raw, []byte(secret)) {
					t.Errorf("%s of process %d holds %s", file, p.pid, secret)
				}
			}
		}
	}
	searchFiles(t, h.path("state"))
	searchFiles(t, h.path("cache"))
}

// searchFiles looks for secrets and keys in every file below a folder.
func searchFiles(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "evil" { // the attacker's program has all these words
			return nil
		}
		raw, err := os.ReadFile(path)
		for _, secret := range []string{tokenSecret, hostSecret, "PRIVATE KEY"} {
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s holds %s", path, secret)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestD01NoSecretInPlan(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	r := h.run(t, "start", "evil", "--dry-run", "--json")
	if r.code != 0 || !strings.Contains(r.out, "E2E_TOKEN") {
		t.Errorf("benign twin: the plan names the credential: %v", r)
	}
	r2 := h.run(t, "start", "evil", "--dry-run")
	for _, secret := range []string{tokenSecret, hostSecret} {
		if strings.Contains(r.String()+r2.String(), secret) {
			t.Errorf("the plan holds %s", secret)
		}
	}
	h.manifest(t, "bottles/carries.md", "agent_provider: {template: shell}\nenv: {COPY: \"${E2E_TOKEN}\"}\negress:\n  routes:\n    - host: llm.test\n      auth: {scheme: Bearer, token_ref: E2E_TOKEN}")
	if r := h.run(t, "run", "evil", "--prompt", "env", "--bottle", "carries"); r.code != 1 || !strings.Contains(r.errors, "no credential goes into a bottle") || strings.Contains(r.String(), tokenSecret) {
		t.Errorf("a credential copied into the environment: %v", r)
	}
}

// Two bottles at once: who somebody is, is which socket they have, not what they say.
func TestD04OtherBottlesIdentity(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.manifest(t, "bottles/poor.md", "agent_provider: {template: shell, command: [/workspace/evil, loop]}\negress:\n  routes:\n    - host: llm.test\n      auth: {scheme: Bearer, token_ref: E2E_TOKEN}")
	rich, poor := h.bottle(t), h.bottle(t, "--bottle", "poor")
	mine, other := placeholder(t, poor), placeholder(t, rich)
	if mine == other {
		t.Errorf("both bottles hold the placeholder %s", mine)
	}
	rich.works(t, "-via", "connect", "-H", "Authorization: Bearer "+other, "https://llm.test/d04")
	poor.works(t, "-via", "connect", "-H", "Authorization: Bearer "+mine, "https://llm.test/d04")
	refused(t, poor.http(t, "-via", "connect", "-H", "Authorization: Bearer "+other, "https://llm.test/d04stolen"), "does not carry this bottle's placeholder")
	poor.audited(t, "a stolen placeholder", "does not carry this bottle's placeholder", byHost("llm.test", "/d04stolen"))
	// What the rich one may reach the poor one may not, whoever it says it is.
	rich.works(t, "-via", "proxy", "http://ok.test/twin/d04")
	for _, header := range []string{"X-Bottle: " + rich.id, "X-Forwarded-For: 127.0.0.1", "Proxy-Authorization: Basic " + rich.id, "Forwarded: for=" + rich.id} {
		refused(t, poor.http(t, "-via", "proxy", "-H", header, "http://ok.test/twin/d04"), "no rule of this bottle names the host ok.test")
	}
	refused(t, poor.http(t, "-via", "direct", "-dial", "198.18.0.2:80", "http://ok.test/twin/d04"), "no rule of this bottle names the host ok.test")
	for _, e := range rich.events(t) {
		if e.Bottle != rich.id || strings.Contains(e.Path, "d04stolen") {
			t.Errorf("the rich bottle's log has %+v", e)
		}
	}
	poor.audited(t, "another bottle's rule", "no rule of this bottle names the host ok.test", func(e audit.Event) bool { return e.Bottle == poor.id })
}

func TestD07AuthorityKey(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	one, two := h.bottle(t), h.bottle(t)
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	ca := func(b *sealed) string { return evil[map[string]content](t, b, "read", bundle)[bundle].Data }
	first, second := ca(one), ca(two)
	if !strings.Contains(first, "BEGIN CERTIFICATE") || first == second {
		t.Errorf("authorities of two bottles:\n%s\n%s", first, second)
	}
	// The twin: each is trusted where it belongs, which the interception of https shows.
	one.works(t, "-via", "connect", "https://ok.test/twin/d07")
	two.works(t, "-via", "connect", "https://ok.test/twin/d07")
	if o := evil[map[string]string](t, one, "write", bundle); o[bundle] == "done" {
		t.Error("the agent can write its trust store")
	}
	dir := one.dir
	searchFiles(t, dir)
	if err := one.close(); err != nil {
		t.Fatal(err)
	}
	if r := h.run(t, "cleanup", "--yes"); r.code != 0 {
		t.Fatal(r)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("cleanup left %s", dir)
	}
	if _, err := os.Stat(two.dir); err != nil {
		t.Errorf("cleanup took a running bottle's folder: %v", err)
	}
}

// The audit log survives what the agent puts into it.
func TestD08HostileTextInTheAuditLog(t *testing.T) {
	t.Parallel()
	b := attacker(t, "hostile")
	benign(t, b)
	for _, path := range []string{`/%1b]52;c;ZXZpbA==%07`, `/%e2%80%ae`, "/\"},{\"seq\":1", "/%0a{}"} {
		b.http(t, "-via", "proxy", "http://c2.test"+path)
	}
	within(t, patience, "four denials", func() bool {
		n := 0
		for _, e := range b.events(t) {
			if e.Host == "c2.test" {
				n++
			}
		}
		return n == 4
	})
	raw, err := os.ReadFile(filepath.Join(b.dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		if !json.Valid(line) || bytes.ContainsAny(bytes.TrimSuffix(line, []byte("\n")), "\x1b\x07\n\u202e") {
			t.Errorf("line %q", line)
		}
	}
}
