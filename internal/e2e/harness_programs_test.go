//go:build linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/provider/install/installtest"
)

// The real agent programs are found, or installed, where there is an internet, and shown in the
// world below programsDir, wherever they lie outside.
const (
	programsVar = "CLAUDE_BOTTLE_E2E_PROGRAMS" // "claude=/folder" a line
	programsDir = "/tmp/programs"
	programsBin = programsDir + "/bin" // for an operator's PATH
)

// findPrograms gets the real agent programs and lays out their places in the world's /tmp.
func findPrograms(tmp string) error {
	templates := []string{"claude", "codex"}
	lines, errs := make([]string, len(templates)), make([]error, len(templates))
	dir := filepath.Join(tmp, filepath.Base(programsDir))
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return err
	}
	var all sync.WaitGroup
	for i, name := range templates {
		all.Go(func() {
			p, err := installtest.Program(context.Background(), name, func(line string) { fmt.Fprintln(os.Stderr, "e2e:", line) })
			if err != nil {
				errs[i] = err
				return
			}
			lines[i] = name + "=" + p.Mounts[0].Source
			rel, err := filepath.Rel(p.Mounts[0].Source, p.HostPath())
			errs[i] = errors.Join(err, place(p.Mounts[0].Source, filepath.Join(dir, name)),
				os.Symlink(filepath.Join("..", name, rel), filepath.Join(dir, "bin", name)))
		})
	}
	all.Wait()
	return errors.Join(append(errs, os.Setenv(programsVar, strings.Join(lines, "\n")))...)
}

// place makes what source, a folder or a file, can be mounted on.
func place(source, at string) error {
	if fi, err := os.Stat(source); err != nil || fi.IsDir() {
		return errors.Join(err, os.Mkdir(at, 0o755))
	}
	return os.WriteFile(at, nil, 0o755)
}

// showPrograms mounts the programs into what becomes the world's /tmp.
func showPrograms(tmp string) error {
	for line := range strings.SplitSeq(os.Getenv(programsVar), "\n") {
		name, source, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		if err := unix.Mount(source, filepath.Join(tmp, filepath.Base(programsDir), name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("show %s: %w", name, err)
		}
	}
	return nil
}
