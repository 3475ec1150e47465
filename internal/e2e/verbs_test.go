//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// shellHome is a home whose agent "sh" is a shell that runs its prompt.
func shellHome(t *testing.T) *home {
	t.Helper()
	h := newHome(t)
	h.manifest(t, "agents/sh.md", "bottle: sh")
	h.manifest(t, "bottles/sh.md", "agent_provider: {template: shell}\negress:\n  routes:\n    - {host: ok.test, plain: true}")
	return h
}

// sh runs a script in a bottle of its own.
func (h *home) sh(t testing.TB, script string, args ...string) result {
	t.Helper()
	return h.run(t, append([]string{"run", "sh", "--prompt", script}, args...)...)
}

// The agent's exit code is ours, its streams stay apart, and nothing of ours is on its standard
// output.
func TestRunIsTransparent(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	for script, want := range map[string]result{
		"echo out; echo err >&2":                 {0, "out\n", "err\n"},
		"echo out; exit 7":                       {7, "out\n", ""},
		"exit 255":                               {255, "", ""},
		"kill -9 $$":                             {137, "", ""},
		"kill -TERM $$":                          {143, "", ""},
		"printf '\\000\\001\\377'; printf x >&2": {0, "\x00\x01\xff", "x"},
		"exec /no/such/program 2>/dev/null":      {127, "", ""},
	} {
		if r := h.sh(t, script, "--quiet"); r != want {
			t.Errorf("%s: want %v\ngot %v", script, want, r)
		}
		if r := h.sh(t, script); r.code != want.code || r.out != want.out || !strings.Contains(r.errors, want.errors) || !strings.HasPrefix(r.errors, "sh-") {
			t.Errorf("%s: want %v and a line about the launch\ngot %v", script, want, r)
		}
	}
	if r := h.run(t, "run", "sh", "--quiet", "--prompt", `echo "$#: $1|$2"`, "--", "a b", "-c"); r.out != "2: a b|-c\n" {
		t.Errorf("arguments: %v", r)
	}
	h.manifest(t, "bottles/absent.md", "agent_provider: {template: shell, command: [/no/such/program]}")
	if r := h.sh(t, "x", "--bottle", "absent"); r.code != 127 || !strings.Contains(r.errors, "/no/such/program") {
		t.Errorf("a program that isn't there: %v", r)
	}
	if r := h.run(t, "run", "nobody", "--prompt", "x"); r.code != 3 || !strings.Contains(r.errors, "nobody") {
		t.Errorf("an agent that isn't there: %v", r)
	}
	if r := h.run(t, "run"); r.code != 2 || !strings.Contains(r.errors, "hint:") {
		t.Errorf("without an agent: %v", r)
	}
}

// Ten megabytes of anything pass in and out unchanged, on both streams.
func TestRunCarriesBytes(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	in := make([]byte, 10<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(in) // never fails
	cmd := h.command(bounded(t), "run", "sh", "--quiet", "--prompt", "tee /dev/stderr")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"output": out.Bytes(), "errors": errs.Bytes()} {
		if sha256.Sum256(b) != sha256.Sum256(in) {
			t.Errorf("standard %s: %d bytes, and not those that went in", name, len(b))
		}
	}
	// Who stops reading ends the agent, as in any pipe.
	pipe := exec.Command("bash", "-c", `"$0" run sh --quiet --prompt yes | head -n 2`, h.program)
	pipe.Dir, pipe.Env = h.path("work"), h.environ()
	if b, err := pipe.Output(); err != nil || string(b) != "y\ny\n" {
		t.Errorf("%q, %v", b, err)
	}
	within(t, patience, "the bottle has ended with its reader", func() bool {
		return !slices.ContainsFunc(entries(t, h), func(e state.Entry) bool { return e.Alive })
	})
}

// What --cwd brings in arrives as it is, and what the agent makes of it is the operator's.
func TestCwd(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 2<<20) // 32 MiB
	work := h.path("work")
	for name, f := range map[string]struct {
		mode os.FileMode
		data []byte
	}{
		"large.bin": {0o644, large}, "run.sh": {0o755, []byte("#!/bin/sh\necho it runs\n")}, ".hidden": {0o600, []byte("h")},
		"deep/er/file": {0o644, []byte("deep")}, "name with\nnewline": {0o644, nil}, "ümläut": {0o644, nil}, "read-only": {0o444, []byte("r")},
	} {
		path := filepath.Join(work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.data, f.mode), os.Chmod(path, f.mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(work, "empty"), 0o755), os.Symlink("deep/er", filepath.Join(work, "link")),
		os.Symlink("/etc/hostname", filepath.Join(work, "abs")), os.Symlink("nowhere", filepath.Join(work, "dangling")),
		syscall.Mkfifo(filepath.Join(work, "fifo"), 0o644)); err != nil {
		t.Fatal(err)
	}
	r := h.sh(t, `set -e
./run.sh; sha256sum <large.bin; readlink link abs dangling; cat link/file .hidden; stat -c %a run.sh .hidden read-only; ls -d empty ümläut name*
test ! -e fifo; test -O large.bin
echo changed >deep/er/file; rm .hidden; mkdir made; echo new >made/file; ln -s made/file out; chmod 700 made/file; cp -a large.bin made/large`, "--cwd")
	want := fmt.Sprintf("it runs\n%x  -\ndeep/er\n/etc/hostname\nnowhere\ndeeph755\n600\n444\nempty\n", sha256.Sum256(large))
	if r.code != 0 || !strings.HasPrefix(r.out, want) || !strings.Contains(r.out, "ümläut") || !strings.Contains(r.out, "newline") {
		t.Fatalf("want %s\ngot %v", want, r)
	}
	if b, err := os.ReadFile(filepath.Join(work, "deep/er/file")); err != nil || string(b) != "deep" {
		t.Errorf("the operator's own file is %q, %v", b, err)
	}
	back := h.path("state/" + only(t, h).ID.String() + "/workspace")
	if !strings.Contains(r.errors, "its files: "+back) {
		t.Errorf("nobody says where the work is: %v", r)
	}
	for name, want := range map[string]string{"deep/er/file": "changed\n", "made/file": "new\n", "out": "new\n", "link/file": "changed\n"} {
		if b, err := os.ReadFile(filepath.Join(back, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	err := filepath.WalkDir(back, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if uid := fi.Sys().(*syscall.Stat_t).Uid; int(uid) != os.Geteuid() {
			t.Errorf("%s is uid %d's", path, uid)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if r := h.run(t, "cleanup", "--yes"); r.code != 0 {
		t.Errorf("cleanup: %v", r)
	}
	h.empty(t)
}

// cleanUp removes everything that ended bottles left. Where an engine had their files, these come home
// first, for the operator to look at, and go when asked once more.
func cleanUp(t testing.TB, h *home) {
	t.Helper()
	r := h.run(t, "cleanup", "--yes")
	if r.code == 0 && strings.Contains(r.out, "which is kept)") {
		r = h.run(t, "cleanup", "--yes")
	}
	if r.code != 0 {
		t.Errorf("cleanup: %v", r)
	}
	h.empty(t)
}

// empty waits until nothing is kept of any bottle; a warden clears up after its last word.
func (h *home) empty(t testing.TB) {
	t.Helper()
	within(t, patience, "nothing is kept", func() bool {
		left, err := os.ReadDir(h.path("state"))
		return err == nil && len(left) == 0
	})
}

// A folder stays where there is something to look at, and the command says so; otherwise it goes.
func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		code   int
		says   []string // none: nothing is kept
	}{
		"ended well":           {"true", 0, nil},
		"ended well with work": {"echo a >work", 0, []string{"ended and is kept", "claude-bottle logs", "its files: ", "/workspace"}},
		"failed":               {"echo sorry; exit 3", 3, []string{"exited with code 3 and is kept", "claude-bottle logs"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := shellHome(t)
			r := h.sh(t, c.script)
			if r.code != c.code {
				t.Fatal(r)
			}
			for _, text := range c.says {
				if !strings.Contains(r.errors, text) {
					t.Errorf("it doesn't say %q: %v", text, r)
				}
			}
			if c.says == nil {
				if strings.Contains(r.errors, "kept") {
					t.Error(r)
				}
				h.empty(t)
				return
			}
			e := only(t, h)
			if e.Alive || e.State.String() != "stopped" || e.Exit == nil || *e.Exit != c.code || e.Reason != "" || e.Ended == nil || !e.Headless {
				t.Errorf("list: %+v", e)
			}
			if !strings.Contains(r.errors, "claude-bottle logs "+e.ID.String()) {
				t.Errorf("the hint names another bottle: %v", r)
			}
		})
	}
}

// The variables of a bottle come from the manifest, from the operator, or from a question.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	h.env["OPERATORS"] = "the operator's = value"
	h.manifest(t, "bottles/env.md", "agent_provider: {template: shell}\nenv:\n  LITERAL: as $it is\n  COPIED: ${OPERATORS}\n  RENAMED: ${E2E_UNSET}")
	r := h.sh(t, "x", "--bottle", "env")
	if r.code != 1 || !strings.Contains(r.errors, "RENAMED copies the host's E2E_UNSET") || !strings.Contains(r.errors, h.path("bottles/env.md")+":6") || !strings.Contains(r.errors, "export E2E_UNSET=") {
		t.Errorf("a variable that isn't set: %v", r)
	}
	h.env["E2E_UNSET"] = "now set"
	r = h.sh(t, `echo "$LITERAL|$COPIED|$RENAMED|${OPERATORS-none}|${E2E_HOST_SECRET-none}|$HOME|$(id -un)|$CLAUDE_BOTTLE_ID"`, "--bottle", "env")
	if r.code != 0 || !strings.HasPrefix(r.out, "as $it is|the operator's = value|now set|none|none|/home/agent|agent|sh-") {
		t.Error(r)
	}
	h.manifest(t, "bottles/asked.md", `agent_provider: {template: shell, command: [sh, -c, 'printf %s "$PASSWORD" | rev; read x']}`+"\nenv: {PASSWORD: \"?the test database\"}")
	if r := h.call(t.Context(), "typed\n", "run", "sh", "--bottle", "asked"); r.code != 1 || !strings.Contains(r.errors, "PASSWORD is asked for on the terminal, and a headless run has nobody to ask") {
		t.Errorf("a question without a terminal: %v", r)
	}
	p := h.sit(t, 100, 30)
	p.says("claude-bottle start sh --bottle asked --yes")
	p.sees("the test database (PASSWORD):")
	p.types("drowssap")
	p.sees("password")
	if strings.Contains(p.screen(), "drowssap") {
		t.Errorf("the answer was shown:\n%s", p.screen())
	}
	nowhere(t, h.path("state"), "drowssap")
}

// One label may name several bottles; which one is meant is asked for, unless only one runs.
func TestLabels(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	var ids []string
	for range 2 {
		r := h.run(t, "start", "sh", "--yes", "--detach", "--label", "twin")
		if r.code != 0 {
			t.Fatal(r)
		}
		ids = append(ids, strings.TrimSpace(r.out))
	}
	slices.Sort(ids)
	if r := h.run(t, "logs", "twin"); r.code != 3 || !strings.Contains(r.errors, `"twin" could be any of `+ids[0]+", "+ids[1]) {
		t.Errorf("two of a label: %v", r)
	}
	if r := h.run(t, "stop", ids[0], "--grace", "0s"); r.code != 0 || r.out != ids[0]+"\n" {
		t.Errorf("stop by ID: %v", r)
	}
	if r := h.run(t, "stop", "twin", "--grace", "0s"); r.code != 0 || r.out != ids[1]+"\n" {
		t.Errorf("stop by the label of the only one that runs: %v", r)
	}
	if r := h.run(t, "stop", ids[1][:4]); r.code != 3 {
		t.Errorf("stop by a beginning several have, and none runs: %v", r)
	}
	if r := h.run(t, "stop", ids[1]); r.code != 3 || !strings.Contains(r.errors, "stopped by the operator") {
		t.Errorf("stop what is stopped: %v", r)
	}
}

// What scripts read is JSON of the shape they rely on.
func TestJSON(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	var p plan.Plan
	r := h.run(t, "start", "sh", "--dry-run", "--json", "--label", "dry")
	if err := json.Unmarshal([]byte(r.out), &p); err != nil || r.code != 0 || p.Label != "dry" || p.Agent.String() != "sh" || len(p.Routes) != 1 {
		t.Errorf("plan: %v: %v", err, r)
	}
	if left, err := os.ReadDir(h.path("state")); err == nil && len(left) > 0 {
		t.Errorf("a dry run left %v", left)
	}
	if r := h.run(t, "list", "--json"); strings.TrimSpace(r.out) != "[]" || r.code != 0 {
		t.Errorf("an empty list: %v", r)
	}
	for _, args := range [][]string{{"version", "--json"}, {"doctor", "--json"}, {"schema", "agent"}, {"schema", "bottle"}} {
		var v any
		if r := h.run(t, args...); json.Unmarshal([]byte(r.out), &v) != nil || r.code != 0 {
			t.Errorf("%q: %v", args, r)
		}
	}
	if r := h.sh(t, "curl -s http://ok.test/twin >/dev/null; curl -s https://c2.test/; exit 1"); r.code != 1 {
		t.Fatal(r)
	}
	e := only(t, h)
	r = h.run(t, "logs", e.ID.String(), "--audit", "--json")
	var allowed, denied int
	for line := range strings.Lines(r.out) {
		var a audit.Event
		if err := json.Unmarshal([]byte(line), &a); err != nil || a.V != 1 || a.Bottle != e.ID.String() {
			t.Fatalf("audit line %q: %v", line, err)
		}
		if a.Host == "ok.test" && a.Kind == audit.KindRequest && a.Verdict == "allow" && a.Status == 200 && a.Path == "/twin" {
			allowed++
		}
		if a.Host == "c2.test" && a.Verdict == "deny" && a.Why != "" {
			denied++
		}
	}
	if allowed != 1 || denied == 0 {
		t.Errorf("%d allowed, %d denied: %v", allowed, denied, r)
	}
}

// Logs tell, of what runs and of what has ended, what was said, decided and done.
func TestLogs(t *testing.T) {
	t.Parallel()
	h := shellHome(t)
	cmd := h.command(bounded(t), "run", "sh", "--label", "chatty", "--prompt", "echo first; cat; printf 'last \\033]0;title\\007\\033[31mred'; curl -s http://c2.test; exit 1")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	within(t, patience, "its first word is logged", func() bool {
		r := h.call(t.Context(), "", "logs", "chatty")
		return r.code == 0 && r.out == "first\n"
	})
	follower := make(chan result, 1)
	go func() { follower <- h.call(context.Background(), "", "logs", "chatty", "--follow") }() // ends with the bottle
	if _, err := in.Write([]byte("second\n")); err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it fails on purpose
	if r := <-follower; r.code != 0 || !strings.HasPrefix(r.out, "first\nsecond\nlast ") || strings.Contains(r.out, "\x1b") || !strings.Contains(r.out, "red") {
		t.Errorf("followed: %v", r)
	}
	for _, c := range []struct {
		flag, want, not string
	}{
		{"--session", "second", "\x1b"},
		{"--launch", "starting shell", "\x1b"},
		{"--audit", `deny  request   GET c2\.test:80/ \(403(, \d+ ms)?\)  no rule of this bottle names the host c2\.test`, `169\.254\.169\.254`},
	} {
		if r := h.run(t, "logs", "chatty", c.flag); r.code != 0 || !regexp.MustCompile(c.want).MatchString(r.out) || regexp.MustCompile(c.not).MatchString(r.out) {
			t.Errorf("%s: %v", c.flag, r)
		}
	}
	if r := h.run(t, "logs", "chatty", "--audit", "--launch"); r.code != 2 {
		t.Errorf("two at once: %v", r)
	}
	if r := h.run(t, "logs", "nobody"); r.code != 3 || !strings.Contains(r.errors, "list --all") {
		t.Errorf("of nobody: %v", r)
	}
}
