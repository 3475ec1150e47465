// Package install gets an agent program onto this host: the operator's own copy when there is one
// that a bottle can run, else a pinned version installed from npm into our cache, once. It starts
// npm at most; the programs themselves are plain executables and are never run here.
//
//	p, err := install.Find(ctx, t, install.Options{PATH: path, Cache: cache, Progress: sink})
//	spec.Mounts = append(spec.Mounts, p.Mounts...)
//	setup.Program = p.Path
package install

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/provider"
)

// Step is the progress step under which everything here reports.
const Step = "program"

// Options say where to look and where to install.
type Options struct {
	// PATH is the host's search path; programs and npm are looked up in its absolute folders.
	PATH string
	// Cache is our folder of installed programs, made (0700) when missing.
	Cache string
	// Env is npm's environment: at least HOME and PATH, and what the operator's proxy or registry
	// set-up needs.
	Env []string
	// CacheOnly ignores the host's own programs: what runs is then the version we tested.
	CacheOnly bool
	Progress  progress.Sink
}

// Program is an agent program ready to be shown to a bottle.
type Program struct {
	// Mounts are read-only and lie under backend.Programs; empty when the bottle's own system has
	// the program.
	Mounts []backend.Mount
	// Path is the executable in the bottle; empty with no Mounts.
	Path string
	// Version is as the program's package says; empty when nothing does.
	Version string
}

// HostPath is the executable on this host; empty with no Mounts.
func (p Program) HostPath() string {
	if len(p.Mounts) == 0 {
		return ""
	}
	m := p.Mounts[0]
	return filepath.Join(m.Source, filepath.FromSlash(strings.TrimPrefix(p.Path, m.Target)))
}

// UnavailableError says that a program is neither on the host nor to be had from npm: callers that
// can do without, such as the demo, branch on it.
type UnavailableError struct {
	Program string // "claude"
	Why     string // in words, npm's last lines in it
	Err     error  // the cause, when there is one
}

// Error implements error.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s is not installed and can't be installed: %s", e.Program, e.Why)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Hint tells what to do.
func (e *UnavailableError) Hint() string {
	return fmt.Sprintf("put %s on your PATH, or make npm and its registry reachable, and try again", e.Program)
}

// Find returns t's program: the host's, else the cached one, else it installs it (minutes, a few
// hundred megabytes, reported line by line). It is safe to call from several processes at once:
// one installs, the others wait for it. A template that needs no program yields the zero Program.
func Find(ctx context.Context, t provider.Template, o Options) (Program, error) {
	src := t.Source()
	if src.IsZero() {
		return Program{}, nil
	}
	want, err := src.For(runtime.GOARCH, musl())
	if err != nil {
		return Program{}, &UnavailableError{Program: src.Command, Why: err.Error(), Err: err}
	}
	if !o.CacheOnly {
		if p, ok := onHost(src, want, o.PATH); ok {
			return p, nil
		}
	}
	return cached(ctx, src, want, o)
}

// show makes the Program whose executable is file, with all of the folder root mounted.
func show(command, root, file, version string) (Program, error) {
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return Program{}, fmt.Errorf("%s: %w", command, err)
	}
	target := path.Join(backend.Programs, command)
	p := Program{
		Mounts:  []backend.Mount{{Source: root, Target: target}},
		Path:    path.Join(target, filepath.ToSlash(rel)),
		Version: version,
	}
	if rel == "." { // a lone file, mounted as one
		p.Mounts[0].Target = path.Join(target, command)
		p.Path = p.Mounts[0].Target
	}
	return p, nil
}

// musl reports whether this host's C library is musl: its loader is there and glibc's is not.
func musl() bool {
	loader := map[string][2]string{
		"amd64": {"/lib/ld-musl-x86_64.so.1", "/lib64/ld-linux-x86-64.so.2"},
		"arm64": {"/lib/ld-musl-aarch64.so.1", "/lib/ld-linux-aarch64.so.1"},
	}[runtime.GOARCH]
	exists := func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	}
	return loader[0] != "" && exists(loader[0]) && !exists(loader[1])
}
