//go:build linux

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// F14: whatever a name, a label or an argument holds, it is data.
func TestF14HostileNames(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.manifest(t, "bottles/echo.md", "agent_provider: {template: shell, command: [/workspace/evil, loop]}")
	witness := filepath.Join(h.dir, "witness")
	hostile := []string{
		"; touch " + witness, "$(touch " + witness + ")", "`touch " + witness + "`", "| touch " + witness, "& touch " + witness, "a\nb", "a\x1b]0;x\x07", "a\u202eb", "--upload-pack=touch " + witness,
		"../../" + filepath.Base(witness), "/etc/passwd", "A", "", strings.Repeat("a", 41), "a b", "a/b", "a\\b", "a.b", "-a", "ünï",
	}
	for _, name := range hostile {
		for _, verb := range [][]string{{"run", "--prompt", "x", "--", name}, {"run", "--prompt", "x", name}, {"start", "--yes", "--detach", name}, {"run", "evil", "--prompt", "x", "--bottle", name}, {"attach", name}, {"stop", name}, {"logs", name}} {
			r := h.run(t, verb...)
			if r.code == 0 {
				t.Errorf("%q: %v", verb, r)
			}
			if strings.ContainsAny(r.errors, "\x1b\x07\u202e") {
				t.Errorf("%q is shown as it is: %q", verb, r.errors)
			}
		}
	}
	for _, label := range []string{"a\nb", "a\x1b[31mb", "a\u202eb", "a\u200bb", strings.Repeat("x", 61), "a\x00"} {
		if strings.Contains(label, "\x00") {
			continue // no program can be given it
		}
		if r := h.run(t, "run", "evil", "--prompt", "x", "--bottle", "echo", "--label", label); r.code == 0 || !strings.Contains(r.errors, "label") || strings.ContainsAny(r.errors, "\x1b\u202e\u200b") {
			t.Errorf("label %q: %v", label, r)
		}
	}
	// The twins: a label may hold what a shell would eat, and arguments and prompts arrive whole.
	h.manifest(t, "bottles/args.md", "agent_provider: {template: shell, command: [/bin/sh, -c, 'for a; do printf \"<%s>\" \"$a\"; done', sh]}")
	for _, text := range []string{"; touch " + witness, "$(touch " + witness + ")", "--upload-pack=touch " + witness, "a 'b' \"c\" \\d", "-n", "*"} {
		r := h.run(t, "run", "evil", "--quiet", "--bottle", "args", "--label", "x"+text[:1], "--prompt", text, "--", text, "-x")
		if r.code != 0 || r.out != "<"+text+"><-x><"+text+">" {
			t.Errorf("%q arrives as %v", text, r)
		}
	}
	if _, err := os.Lstat(witness); err == nil {
		t.Error("something was executed")
	}
	for _, dir := range []string{h.dir, h.path("state"), h.path("work")} {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			if strings.Contains(e.Name(), "witness") || strings.ContainsAny(e.Name(), ";$`|&\n") {
				t.Errorf("in %s there is %q now", dir, e.Name())
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// Manifest files with such names are passed over with a warning, and one in a repository can't be a
// bottle.
func TestF14HostileManifestNames(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	witness := "witness"
	for _, name := range []string{"agents/$(touch " + witness + ").md", "agents/;touch x.md", "bottles/a\x1b]0;x\x07.md", "agents/-rf.md", "bottles/A.md"} {
		if err := h.write(name, "bottle: attack", ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.write("work/.claude-bottle/bottles/attack.md", "agent_provider: {template: shell, command: [/bin/sh, -c, echo widened]}", ""); err != nil {
		t.Fatal(err)
	}
	if err := h.write("work/.claude-bottle/agents/fromrepo.md", "bottle: plain", ""); err != nil {
		t.Fatal(err)
	}
	h.manifest(t, "bottles/plain.md", "agent_provider: {template: shell}")
	r := h.run(t, "run", "fromrepo", "--prompt", "echo the operators bottle")
	if r.code != 0 || strings.TrimSpace(r.out) != "the operators bottle" || !strings.Contains(r.errors, "ignored") || strings.ContainsAny(r.errors, "\x1b\x07") {
		t.Errorf("benign twin beside them: %v", r)
	}
	for _, dir := range []string{h.dir, h.path("work")} {
		if _, err := os.Lstat(filepath.Join(dir, witness)); err == nil {
			t.Error("something was executed")
		}
	}
}
