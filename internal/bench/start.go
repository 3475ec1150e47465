package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What the project promises of starting.
const (
	overBareMax   = 60 * time.Millisecond
	srtShare      = 8.0 // at most 1/8 of srt
	idleMemoryMax = 30 << 20
	manyWithin    = 15 * time.Second
)

// starting measures bottles: one beside rivals, one idle, many at once.
func starting(ctx context.Context, o options) error {
	abs, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	b := bottles{binary: abs, home: filepath.Join(o.dir, "home")}
	if err := b.writeManifests(); err != nil {
		return err
	}
	if err := b.start(ctx, o.runs); err != nil {
		return err
	}
	if err := b.engine(ctx, o.runs); err != nil {
		return err
	}
	if err := b.idle(ctx); err != nil {
		return err
	}
	return b.many(ctx, o.many)
}

// bottles is our program with a home of its own.
type bottles struct{ binary, home string }

func (b bottles) writeManifests() error {
	for name, text := range map[string]string{
		"agents/noop.md":   "---\nbottle: noop\n---\n",
		"bottles/noop.md":  "---\nagent_provider: {template: shell, command: [/bin/true]}\n---\n",
		"agents/sleep.md":  "---\nbottle: sleep\n---\n",
		"bottles/sleep.md": "---\nagent_provider: {template: shell, command: [/bin/sleep, \"600\"]}\n---\n",
	} {
		if err := b.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

func (b bottles) write(name, text string) error {
	path := filepath.Join(b.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

func (b bottles) command(args ...string) []string {
	return append([]string{b.binary, "--home", b.home}, args...)
}

// contender is one way of running /bin/true.
type contender struct {
	name string
	argv []string
}

// start times `run` of /bin/true, self-test included, beside bubblewrap and sandbox-runtime.
func (b bottles) start(ctx context.Context, runs int) error {
	field := []contender{
		{"bare true", []string{"/bin/true"}},
		{"claude-bottle", b.command("run", "noop", "--quiet")},
	}
	if p, err := exec.LookPath("bwrap"); err == nil {
		field = append(field, contender{"bwrap", []string{p, "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "/bin/true"}})
	} else {
		fmt.Println(absent("bwrap", "Debian: apt-get install bubblewrap"))
	}
	srt, err := findSRT(ctx)
	if err == nil { // it has needs of its own: ripgrep, socat
		_, err = timed(ctx, []string{srt, "true"})
	}
	if err == nil {
		field = append(field, contender{"srt", []string{srt, "true"}})
	} else {
		fmt.Println(absent("srt", "npm install -g @anthropic-ai/sandbox-runtime; here: "+err.Error()))
	}

	took, err := turns(ctx, field, runs)
	if err != nil {
		return err
	}
	fmt.Printf("\nrun of /bin/true, %d rounds taken in turns\n", runs)
	fmt.Printf("  %-14s %9s %9s %9s %10s\n", "", "median", "best", "p90", "over bare")
	bare := median(took["bare true"])
	for _, c := range field {
		d := took[c.name]
		slices.Sort(d)
		fmt.Printf("  %-14s %9s %9s %9s %10s\n", c.name, ms(median(d)), ms(d[0]), ms(d[len(d)*9/10]), ms(median(d)-bare))
	}
	ours := median(took["claude-bottle"])
	verdict("over bare", ms(ours-bare), ours-bare <= overBareMax, "at most "+ms(overBareMax))
	if d := took["bwrap"]; len(d) > 0 {
		fmt.Printf("  ratio to bwrap: %.2f\n", float64(ours)/float64(median(d)))
	}
	if d := took["srt"]; len(d) > 0 {
		share := float64(median(d)) / float64(ours)
		verdict("faster than srt by", fmt.Sprintf("%.1fx", share), share >= srtShare, fmt.Sprintf("at least %.0fx", srtShare))
	}
	return nil
}

// findSRT finds sandbox-runtime, or installs it from npm into the user's cache.
func findSRT(ctx context.Context) (string, error) {
	if p, err := exec.LookPath("srt"); err == nil {
		return p, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "claude-bottle-bench")
	srt := filepath.Join(dir, "node_modules", ".bin", "srt")
	if _, err := os.Stat(srt); err == nil {
		return srt, nil
	}
	cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "@anthropic-ai/sandbox-runtime")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install: %w: %s", err, bytes.TrimSpace(out))
	}
	return srt, nil
}

func timed(ctx context.Context, argv []string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
	}
	return took, nil
}
