package install

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/provider"
)

// npm installs want into the folder prefix. No script of any package is run: the packages hold
// finished executables.
func npm(ctx context.Context, src provider.Source, want provider.Native, prefix string, o Options) error {
	bin := findNPM(o.PATH)
	if bin == "" {
		return &UnavailableError{Program: src.Command, Why: "npm is not on the PATH either"}
	}
	o.Progress.Line(Step, fmt.Sprintf("installing %s %s from npm, once; this can take a minute", src.Command, src.Version))
	cmd := exec.CommandContext(ctx, bin, "install", "--prefix", prefix, "--ignore-scripts", "--no-audit", "--no-fund",
		"--no-save", "--no-package-lock", "--no-update-notifier", "--loglevel=http", "--color=false", "--progress=false",
		// Bottles are Linux wherever we are.
		"--os=linux", "--cpu="+want.CPU(), "--force", want.Spec)
	cmd.Env = withSystemRoots(o.Env)
	cmd.Dir = prefix
	cmd.WaitDelay = 5 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("install %s: %w", src.Command, context.Cause(ctx))
		}
		return &UnavailableError{Program: src.Command, Why: "npm does not start: " + err.Error(), Err: err}
	}
	done := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		_ = w.Close() // ends the reading below; an io.Pipe's Close has no error to give
		done <- err
	}()
	last := relay(r, o)
	err := <-done
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("install %s: %w", src.Command, context.Cause(ctx))
	case err != nil:
		return &UnavailableError{Program: src.Command, Why: "npm could not install it: " + strings.Join(last, "; "), Err: err}
	}
	o.Progress.Line(Step, fmt.Sprintf("installed %s %s", src.Command, src.Version))
	return nil
}

// relay reports npm's lines and returns the last few that tell of an error.
func relay(r io.Reader, o Options) (last []string) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := plain(lines.Text())
		if line == "" || strings.HasPrefix(line, "npm warn") {
			continue
		}
		o.Progress.Line(Step, line)
		if strings.HasPrefix(strings.ToLower(line), "npm err") && len(last) < 4 {
			last = append(last, line)
		}
	}
	// A line beyond the buffer ends the scan: npm must not block on a pipe nobody reads.
	_, _ = io.Copy(io.Discard, r)
	if len(last) == 0 {
		last = []string{"it gave no reason"}
	}
	return last
}

// plain makes a foreign line fit to show: printable, one line, at most 300 bytes.
func plain(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s))
	return s[:min(len(s), 300)]
}

func findNPM(path string) string {
	for _, dir := range filepath.SplitList(path) {
		bin := filepath.Join(dir, "npm")
		if info, err := os.Stat(bin); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return bin
		}
	}
	return ""
}

// systemRoots are the usual places of the host's trust store as one file.
var systemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt", // Debian, Arch, Alpine
	"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",             // SUSE
	"/etc/ssl/cert.pem",                  // macOS
}

// withSystemRoots makes node trust what the host trusts: it brings roots of its own and would not
// know the authority of a company's proxy. What the operator set stays.
func withSystemRoots(env []string) []string {
	const name = "NODE_EXTRA_CA_CERTS="
	if slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name) }) {
		return env
	}
	for _, path := range systemRoots {
		if _, err := os.Stat(path); err == nil {
			return append(slices.Clone(env), name+path)
		}
	}
	return env
}
