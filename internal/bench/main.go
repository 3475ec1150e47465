// Command bench measures claude-bottle beside its rivals, in one run on one machine, and prints
// ratios: `make bench`. It is a program and not a test because a shared machine's clock proves
// nothing by itself; only figures taken in turns beside each other compare.
//
//	bench -bottle bin/claude-bottle [-runs 20] [-many 50]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// limits the project promises.
const (
	overBareMax   = 60 * time.Millisecond
	srtShare      = 8.0 // at most 1/8 of srt
	idleMemoryMax = 30 << 20
	manyWithin    = 15 * time.Second
)

func run(ctx context.Context) error {
	binary := flag.String("bottle", "bin/claude-bottle", "our program")
	runs := flag.Int("runs", 20, "rounds; each runs every contender once")
	many := flag.Int("many", 50, "bottles at once")
	flag.Parse()

	abs, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "claude-bottle-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(home) }() // of no use to anybody
	b := bottles{binary: abs, home: home}
	if err := b.writeManifests(); err != nil {
		return err
	}
	if err := b.start(ctx, *runs); err != nil {
		return err
	}
	if err := b.engine(ctx, *runs); err != nil {
		return err
	}
	if err := b.idle(ctx); err != nil {
		return err
	}
	return b.many(ctx, *many)
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
		fmt.Println("bwrap is absent (Debian: apt-get install bubblewrap): left out")
	}
	srt, err := findSRT(ctx)
	if err == nil { // it has needs of its own: ripgrep, socat
		_, err = timed(ctx, []string{srt, "true"})
	}
	if err == nil {
		field = append(field, contender{"srt", []string{srt, "true"}})
	} else {
		fmt.Printf("srt could not be had (%v): left out\n", err)
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

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

func verdict(what, got string, ok bool, want string) {
	word := "ok"
	if !ok {
		word = "MISSED"
	}
	fmt.Printf("  %s: %s (%s: %s)\n", what, got, want, word)
}

var errUnexpected = errors.New("unexpected answer")
