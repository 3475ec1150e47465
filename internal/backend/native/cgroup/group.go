//go:build linux

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Group is a bottle's place in every hierarchy that has one for it.
type Group struct {
	dirs []string // of version 1 first
	v2   string   // the one of version 2; empty when there is none
	kill string   // a file to write "1" to, ending everybody in the group; empty before Linux 5.14
	// Enforced maps "memory", "pids", "cpu" to what enforces that limit; Notes say in words what
	// was asked for and is not enforced.
	Enforced map[string]string
	Notes    []string
}

// Create makes the group called name, empty, with the limits set. A group of that name whose
// processes are all gone is replaced; one with processes is fs.ErrExist. On error nothing is left.
func (l Layout) Create(name string, limits Limits) (_ *Group, err error) {
	g := &Group{Enforced: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("control group %s: %w", name, err), g.rmdir())
		}
	}()
	for _, w := range wanted(limits) {
		by, why := l.By(w.controller)
		if by == "" {
			g.Notes = append(g.Notes, fmt.Sprintf("the %s limit is not enforced: %s", w.controller, why))
			continue
		}
		if by == "cgroup v1" {
			dir, err := g.mkdir(l.v1[w.controller], name)
			if err == nil {
				err = g.set(dir, w.v1)
			}
			if err != nil {
				return nil, err
			}
			g.Enforced[w.controller] = by
		}
	}
	if l.v2 == "" {
		return g, nil
	}
	// The version 2 group is made in any case: it can be killed as one.
	if err := l.create2(g, name, limits); err != nil {
		return nil, err
	}
	return g, nil
}

func (l Layout) create2(g *Group, name string, limits Limits) error {
	var need []setting
	for _, w := range wanted(limits) {
		if by, _ := l.By(w.controller); by == "cgroup v2" {
			need = append(need, w)
		}
	}
	top := filepath.Join(l.v2, parent)
	if err := os.Mkdir(top, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		if len(need) == 0 {
			return nil // it would only have been a convenience
		}
		return err
	}
	for _, w := range need {
		for _, dir := range []string{l.v2, top} {
			if err := write(filepath.Join(dir, "cgroup.subtree_control"), "+"+w.controller); err != nil {
				return fmt.Errorf("hand on the %s controller: %w", w.controller, err)
			}
		}
	}
	dir, err := g.mkdir(l.v2, name)
	if err != nil {
		return err
	}
	for _, w := range need {
		if err := g.set(dir, w.v2); err != nil {
			return err
		}
		g.Enforced[w.controller] = "cgroup v2"
	}
	g.v2 = dir
	if kill := filepath.Join(dir, "cgroup.kill"); exists(kill) {
		g.kill = kill
	}
	return nil
}

// set turns knobs.
func (g *Group) set(dir string, knobs []knob) error {
	for _, k := range knobs {
		path := filepath.Join(dir, k.file)
		if k.without != "" && !exists(path) {
			g.Notes = append(g.Notes, k.without)
			continue
		}
		if err := write(path, k.value); err != nil {
			return err
		}
	}
	return nil
}

// mkdir makes the group in one hierarchy, once.
func (g *Group) mkdir(hierarchy, name string) (string, error) {
	top := filepath.Join(hierarchy, parent)
	dir := filepath.Join(top, name)
	for _, d := range g.dirs {
		if d == dir {
			return dir, nil // cpu and cpuacct may share a hierarchy
		}
	}
	if err := os.Mkdir(top, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) && len(words(filepath.Join(dir, "cgroup.procs"))) == 0 && os.Remove(dir) == nil {
		err = os.Mkdir(dir, 0o755) // what a holder that was killed left
	}
	if err != nil {
		return "", err
	}
	g.dirs = append(g.dirs, dir)
	return dir, nil
}

// OOM reports whether the kernel has killed something in the group for want of memory.
func (g *Group) OOM() bool {
	for _, dir := range g.dirs {
		for _, file := range []string{"memory.oom_control", "memory.events"} {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue // the other version, or another controller
			}
			for line := range strings.Lines(string(b)) {
				if n, ok := strings.CutPrefix(line, "oom_kill "); ok && strings.TrimSpace(n) != "0" {
					return true
				}
			}
		}
	}
	return false
}

// Remove kills what is left in the group and removes it. The kernel may take a moment to let go
// of the last process; Remove tries until ctx ends.
func (g *Group) Remove(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := g.rmdir()
		if err == nil {
			return nil
		}
		if g.kill != "" {
			_ = write(g.kill, "1") // gone already is what is wanted
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("remove control group: %w", err)
		}
	}
}

func (g *Group) rmdir() error {
	var errs error
	for _, dir := range g.dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// write sets a control file, which exists and takes the text in one piece.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
