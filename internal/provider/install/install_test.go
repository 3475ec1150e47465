package install_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/provider/install"
	"github.com/claude-bottle/claude-bottle/internal/provider/install/installtest"
)

func template(t *testing.T, name string) provider.Template {
	t.Helper()
	tmpl, err := provider.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// elf is the beginning of an executable for this machine.
func elf() string {
	machine := "\x3e\x00"
	if runtime.GOARCH == "arm64" {
		machine = "\xb7\x00"
	}
	return "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00" + machine + strings.Repeat("\x00", 44)
}

func write(t *testing.T, name, data string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	// Some are executed next. What another test forks meanwhile would have them open for writing until it is
	// another program, and nobody could run them (golang/go#22315).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(name, []byte(data), mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// fakeNPM writes an npm into dir that does what body says: $PREFIX is where it is to install, and
// every run adds a line to dir/runs.
func fakeNPM(t *testing.T, dir, body string) {
	t.Helper()
	write(t, filepath.Join(dir, "npm"), `#!/bin/sh
echo run >> "`+dir+`/runs"
PREFIX="$3"
`+body+"\n", 0o755)
}

func native(t *testing.T, name string) provider.Native {
	t.Helper()
	n, err := template(t, name).Source().For(runtime.GOARCH, false)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestHostProgram(t *testing.T) {
	t.Parallel()
	claude, codex := native(t, "claude"), native(t, "codex")
	for _, tc := range []struct {
		name, template string
		make           func(t *testing.T, dir string)
		source, path   string // of the mount, relative to dir; in the bottle, below Programs
		version        string
	}{
		{"claude as npm installs it", "claude", func(t *testing.T, dir string) {
			root := filepath.Join(dir, "lib/node_modules/@anthropic-ai/claude-code")
			write(t, filepath.Join(root, "package.json"), `{"name":"@anthropic-ai/claude-code","version":"2.0.1"}`, 0o644)
			write(t, filepath.Join(root, "bin/claude.exe"), elf(), 0o755)
			link(t, "../lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe", filepath.Join(dir, "bin/claude"))
		}, "lib/node_modules/@anthropic-ai/claude-code", "claude/bin/claude.exe", "2.0.1"},
		{"claude as its own installer leaves it", "claude", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "share/claude/versions/2.1.9"), elf(), 0o755)
			link(t, "../share/claude/versions/2.1.9", filepath.Join(dir, "bin/claude"))
		}, "share/claude/versions/2.1.9", "claude/claude", "2.1.9"},
		{"a launcher script with the executable beside it", "codex", func(t *testing.T, dir string) {
			modules := filepath.Join(dir, "lib/node_modules")
			write(t, filepath.Join(modules, "@openai/codex/package.json"), `{"name":"@openai/codex","version":"0.1.0"}`, 0o644)
			write(t, filepath.Join(modules, "@openai/codex/bin/codex.js"), "#!/usr/bin/env node\n", 0o755)
			write(t, filepath.Join(modules, codex.Package, codex.Program), elf(), 0o755)
			link(t, "../lib/node_modules/@openai/codex/bin/codex.js", filepath.Join(dir, "bin/codex"))
		}, "lib/node_modules/" + codex.Package, "codex/" + codex.Program, "0.1.0"},
		{"a launcher script with the executable below it", "claude", func(t *testing.T, dir string) {
			root := filepath.Join(dir, "lib/node_modules/@anthropic-ai/claude-code")
			write(t, filepath.Join(root, "package.json"), `{"name":"@anthropic-ai/claude-code","version":"2.0.2"}`, 0o644)
			write(t, filepath.Join(root, "bin/claude.exe"), "echo run the postinstall\n", 0o755)
			write(t, filepath.Join(root, "node_modules", claude.Package, claude.Program), elf(), 0o755)
			link(t, "../lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe", filepath.Join(dir, "bin/claude"))
		}, "lib/node_modules/@anthropic-ai/claude-code/node_modules/" + claude.Package, "claude/claude", "2.0.2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			tc.make(t, dir)
			p, err := install.Find(t.Context(), template(t, tc.template), install.Options{PATH: ":relative:" + filepath.Join(dir, "bin"), Cache: filepath.Join(dir, "cache")})
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Mounts) != 1 || p.Mounts[0].Source != filepath.Join(dir, tc.source) || p.Mounts[0].Writable {
				t.Errorf("mounts %+v, want %s read-only", p.Mounts, tc.source)
			}
			if want := backend.Programs + "/" + tc.path; p.Path != want {
				t.Errorf("path %q, want %q", p.Path, want)
			}
			if p.Version != tc.version {
				t.Errorf("version %q, want %q", p.Version, tc.version)
			}
			if data, err := os.ReadFile(p.HostPath()); err != nil || string(data) != elf() {
				t.Errorf("HostPath %q is not the executable: %v", p.HostPath(), err)
			}
		})
	}
}

func TestUnfitHostProgramsAreIgnored(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"a script of unknown origin": "#!/bin/sh\n",
		"another system's binary":    "\xcf\xfa\xed\xfe" + strings.Repeat("\x00", 60),
		"another processor's binary": "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\xf3\x00" + strings.Repeat("\x00", 44),
		"a cut-off file":             "\x7fELF",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "claude"), data, 0o755)
			_, err := install.Find(t.Context(), template(t, "claude"), install.Options{PATH: dir, Cache: filepath.Join(dir, "cache")})
			if un, ok := errors.AsType[*install.UnavailableError](err); !ok || un.Program != "claude" || un.Hint() == "" {
				t.Errorf("got %v, want an UnavailableError for claude", err)
			}
		})
	}
}

func TestShellNeedsNoProgram(t *testing.T) {
	t.Parallel()
	p, err := install.Find(t.Context(), template(t, "shell"), install.Options{})
	if err != nil || len(p.Mounts) != 0 || p.Path != "" || p.HostPath() != "" {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestManyLaunchesInstallOnce(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), native(t, "claude")
	write(t, filepath.Join(dir, "payload"), elf(), 0o755)
	fakeNPM(t, dir, `sleep 0.3
mkdir -p "$PREFIX/node_modules/`+n.Package+`" && cp "`+dir+`/payload" "$PREFIX/node_modules/`+n.Package+`/claude"`)
	o := install.Options{PATH: dir, Cache: filepath.Join(dir, "cache"), Env: []string{"PATH=" + os.Getenv("PATH")}}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			p, err := install.Find(t.Context(), template(t, "claude"), o)
			if err != nil || p.Version != template(t, "claude").Source().Version {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
	wg.Wait()
	if runs, err := os.ReadFile(filepath.Join(dir, "runs")); err != nil || string(runs) != "run\n" {
		t.Errorf("npm ran %q, want once (%v)", runs, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "cache", ".installing-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// The quickest of many: how long the others take is up to what else this machine does.
	best := time.Hour
	for end := time.Now().Add(20 * time.Second); best > time.Millisecond && time.Now().Before(end); {
		began := time.Now()
		if _, err := install.Find(t.Context(), template(t, "claude"), o); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(began))
	}
	t.Logf("a cache hit takes %v", best)
	if best > time.Millisecond {
		t.Errorf("a cache hit takes %v, want at most 1ms", best)
	}
	if runs, err := os.ReadFile(filepath.Join(dir, "runs")); err != nil || string(runs) != "run\n" {
		t.Errorf("after the hits npm ran %q, want once (%v)", runs, err)
	}
}

func TestFailedInstallSaysWhyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ body, why string }{
		"registry unreachable": {"echo 'npm error code ENOTFOUND\x1b[31m' >&2; exit 1", "ENOTFOUND"},
		"empty package":        {"exit 0", "does not hold the executable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fakeNPM(t, dir, tc.body)
			var lines []string
			_, err := install.Find(t.Context(), template(t, "codex"), install.Options{
				PATH: dir, Cache: filepath.Join(dir, "cache"), Env: []string{"PATH=" + os.Getenv("PATH")},
				Progress: func(e progress.Event) { lines = append(lines, e.Line) },
			})
			un, ok := errors.AsType[*install.UnavailableError](err)
			if !ok || !strings.Contains(un.Why, tc.why) || strings.Contains(un.Why, "\x1b") {
				t.Errorf("got %q, want an UnavailableError with %q", err, tc.why)
			}
			if len(lines) == 0 || !strings.Contains(lines[0], "installing codex") {
				t.Errorf("progress %q", lines)
			}
			entries, err := os.ReadDir(filepath.Join(dir, "cache"))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if !strings.HasSuffix(e.Name(), ".lock") {
					t.Errorf("left behind: %s", e.Name())
				}
			}
		})
	}
}

func TestInstallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fakeNPM(t, dir, "echo at work; exec sleep 60")
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("the operator pressed Ctrl-C")
	began := time.Now()
	_, err := install.Find(ctx, template(t, "codex"), install.Options{
		PATH: dir, Cache: filepath.Join(dir, "cache"), Env: []string{"PATH=" + os.Getenv("PATH")},
		Progress: func(e progress.Event) {
			if e.Line == "at work" {
				cancel(stopped)
			}
		},
	})
	if !errors.Is(err, stopped) {
		t.Errorf("got %v, want the cause", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestRealPrograms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"claude", "codex"} {
		p := installtest.Find(t, name)
		if info, err := os.Stat(p.HostPath()); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: %v", p.HostPath(), err)
		}
	}
}
