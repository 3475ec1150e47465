// Package installtest gives tests the real agent programs.
package installtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/provider/install"
)

// Variables of the environment that tests read.
const (
	// Programs names a folder with the programs in it, or an npm prefix they were installed into.
	Programs = "CLAUDE_BOTTLE_TEST_PROGRAMS"
	// Cache names the folder that tests install programs into, once for all of them; without it,
	// a folder in the user's cache.
	Cache = "CLAUDE_BOTTLE_TEST_CACHE"
)

// Find returns the real program of the named template and fails the test when it can't be had.
func Find(tb testing.TB, template string) install.Program {
	tb.Helper()
	p, err := Program(tb.Context(), template, func(line string) { tb.Log(line) })
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// Program is Find for what is no test; say gets the lines of an install.
func Program(ctx context.Context, template string, say func(line string)) (install.Program, error) {
	t, err := provider.Get(template)
	if err != nil {
		return install.Program{}, err
	}
	o := install.Options{
		PATH:      os.Getenv("PATH"),
		Cache:     os.Getenv(Cache),
		Env:       os.Environ(),
		CacheOnly: true,
		Progress:  func(e progress.Event) { say(e.Line) },
	}
	if dir := os.Getenv(Programs); dir != "" {
		o.CacheOnly = false
		o.PATH = dir + ":" + filepath.Join(dir, "node_modules", ".bin") + ":" + o.PATH
	}
	if o.Cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return install.Program{}, fmt.Errorf("%s is not set and there is no cache folder: %w", Cache, err)
		}
		o.Cache = filepath.Join(user, "claude-bottle-test", "programs")
	}
	p, err := install.Find(ctx, t, o)
	if err != nil {
		return p, fmt.Errorf("the real %s is needed: %w", template, err)
	}
	return p, nil
}
