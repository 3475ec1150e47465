//go:build linux

package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Names returns the groups of ours there are, in any hierarchy, sorted, each with its folders.
func (l Layout) Names() []Left {
	found := map[string][]string{}
	for _, h := range l.hierarchies() {
		entries, err := os.ReadDir(filepath.Join(h, parent))
		if err != nil {
			continue // nothing of ours there
		}
		for _, e := range entries {
			if e.IsDir() {
				found[e.Name()] = append(found[e.Name()], filepath.Join(h, parent, e.Name()))
			}
		}
	}
	var out []Left
	for name, dirs := range found {
		out = append(out, Left{name, dirs})
	}
	slices.SortFunc(out, func(a, b Left) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// Left is a group of ours.
type Left struct {
	Name string
	Dirs []string
}

// idleAge is how old an empty group must be before it counts as nobody's: one that is younger may
// be about to get its first process.
const idleAge = time.Minute

// Idle reports whether the group's folder dir holds no process now and was made long enough ago
// not to belong to a bottle that is being made. When in doubt it isn't idle.
func Idle(dir string, now time.Time) bool {
	info, err := os.Stat(dir)
	if err != nil || now.Sub(info.ModTime()) < idleAge {
		return false
	}
	procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	return err == nil && len(procs) == 0
}

// Open returns the group called name to remove it; it may hold nothing at all.
func (l Layout) Open(name string) *Group {
	g := &Group{}
	for _, h := range l.hierarchies() {
		dir := filepath.Join(h, parent, name)
		if !exists(dir) {
			continue
		}
		g.dirs = append(g.dirs, dir)
		if kill := filepath.Join(dir, "cgroup.kill"); exists(kill) {
			g.kill = kill
		}
	}
	return g
}

// hierarchies are the folders our parent folder may be in.
func (l Layout) hierarchies() []string {
	var out []string
	for _, c := range controllers {
		if dir := l.v1[c]; dir != "" && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	if l.v2 != "" {
		out = append(out, l.v2)
	}
	return out
}
